/* The address of a page or an API path, below whatever path the visitor's proxy offers the server at. */

import { config } from "./page_config.js";

/** "/job/1" -> "/kue/job/1", if a proxy offers the server at /kue. */
export const link = (path) => config.base_path + path;
