/* The server's constants, in each page as JSON: state labels, priorities, list sizes, the visitor's role. */

export const config = JSON.parse(document.getElementById("page_config").textContent);
