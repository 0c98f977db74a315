/* Shows the value of the chart column that the pointer is on. */

import { absolute } from "../lib/format.js";

export function wireCharts(root) {
  const show = (event, on) => {
    const column = event.target.closest?.(".hit");
    const output = column?.closest("figure")?.querySelector(".plot_value");
    if (output) output.textContent = on ? `${absolute(Number(column.dataset.at)).slice(11, 16)}  ${column.dataset.value}` : "";
    column?.querySelector("title")?.remove(); // the browser's tooltip would show the same
  };
  root.addEventListener("pointerover", (event) => show(event, true));
  root.addEventListener("pointerout", (event) => show(event, false));
}
