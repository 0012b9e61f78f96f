// --- figures

let plotly = null;

function loadPlotly() {
  if (plotly) return plotly;
  plotly = new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const inlined = document.getElementById("plotly");
    if (inlined) {
      script.textContent = inlined.textContent;
      document.head.append(script);
      return resolve(window.Plotly);
    }
    script.src = "plotly.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.js is missing"));
    document.head.append(script);
  });
  return plotly;
}

function coloured(value, style) {
  if (typeof value === "string" && value.startsWith("--")) return style.getPropertyValue(value).trim();
  if (Array.isArray(value)) return value.map((one) => coloured(one, style));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one, style)]));
  return value;
}

async function drawFigure(figure) {
  const Plotly = await loadPlotly();
  const style = getComputedStyle(document.documentElement);
  const { data, layout } = coloured(JSON.parse(figure.querySelector("script").textContent), style);
  const line = style.getPropertyValue("--line").trim();
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const whole = {
    margin: { l: 8, r: 8, t: 16, b: 8 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: style.getPropertyValue("--ink").trim(), family: "inherit", size: 12 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    hovermode: "closest",
    ...layout,
  };
  for (const key of ["xaxis", "yaxis"]) whole[key] = { ...axis, ...whole[key] };
  const canvas = figure.querySelector(".canvas");
  if (whole.height) canvas.style.height = `${whole.height}px`;
  await Plotly.react(canvas, data, whole, { displayModeBar: false, responsive: true });
  figure.dataset.drawn = "";
}

function watchFigures() {
  const watcher = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      watcher.unobserve(entry.target);
      drawFigure(entry.target);
    });
  }, { rootMargin: "200px" });
  document.querySelectorAll("figure.plot").forEach((figure) => watcher.observe(figure));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.querySelectorAll("figure[data-drawn]").forEach(drawFigure));
}
