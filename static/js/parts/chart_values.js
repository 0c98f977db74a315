/* Shows the value of the chart column that the pointer is on. */

export function wireCharts(root) {
  const show = (event, on) => {
    const column = event.target.closest?.(".hit");
    const output = column?.closest("figure")?.querySelector(".plot_value");
    if (output) output.textContent = on ? column.dataset.value : "";
  };
  root.addEventListener("pointerover", (event) => show(event, true));
  root.addEventListener("pointerout", (event) => show(event, false));
}
