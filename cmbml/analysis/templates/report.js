"use strict";
document.documentElement.classList.add("js");
for (const flip of document.querySelectorAll(".flip")) {
  const frames = [...flip.querySelectorAll(".frames figure")];
  const show = (index) => frames.forEach((frame, i) => { frame.hidden = i !== index; });
  for (const input of flip.querySelectorAll("input")) {
    input.addEventListener("change", () => show(Number(input.value)));
    if (input.checked) show(Number(input.value));
  }
}
