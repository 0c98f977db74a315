/* URLs of pages and API paths, including the path under which a proxy serves the server. */

import { config } from "./page_config.js";

/** "/job/1" -> "/kue/job/1", if a proxy serves the server under /kue. */
export const link = (path) => config.base_path + path;
