/* The server's constants, which each page holds as JSON: state labels, priorities, list sizes, what the visitor may do. */

export const config = JSON.parse(document.getElementById("page_config").textContent);
