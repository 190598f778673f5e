// What the page does beyond plain HTML: the answer moves with the sliders, a photograph can be dropped or pasted, and
// the state of a file's job is looked at again. Without this script every form still works.
"use strict";
document.documentElement.classList.add("scripted");

const quote = document.getElementById("quote");
if (quote) followForm(quote);
const job = document.querySelector("[data-job]");
if (job) followJob(job.dataset.job);

function followForm(form) {
  const photograph = document.getElementById("photograph");
  const drop = document.getElementById("drop");
  let latest = 0;
  let timer = 0;

  async function ask() {
    const number = ++latest;
    const fields = new FormData(form);
    const upload = photograph && photograph.files.length > 0;
    if (!upload) fields.delete("photograph");
    const link = "/?" + new URLSearchParams(fields);
    if (fields.get("index") !== fields.get("page_of")) {  // which has columns of its own
      return upload ? form.submit() : location.assign(link);
    }
    const answer = document.getElementById("answer");
    answer.setAttribute("aria-busy", "true");
    let response;
    try {
      response = upload
        ? await fetch("/?part=answer", { method: "POST", body: fields })
        : await fetch(link + "&part=answer");
    } catch {
      answer.removeAttribute("aria-busy");
      return form.submit();  // the browser tells what is wrong with the connection
    }
    const text = await response.text();
    if (number !== latest) return;  // a newer question is under way
    const told = new DOMParser().parseFromString(text, "text/html");
    const fresh = told.getElementById("answer");
    if (!fresh) {  // a refusal before the page was asked, or of the whole page
      answer.removeAttribute("aria-busy");
      return refuse(answer, told);
    }
    const focus = document.activeElement && document.activeElement.id;
    answer.replaceWith(document.adoptNode(fresh));
    if (focus && document.getElementById(focus)) document.getElementById(focus).focus();
    if (!upload && response.ok) history.replaceState(null, "", link);
  }

  function refuse(answer, told) {
    const sentence = told.querySelector(".mistake");
    const mistake = document.createElement("p");
    mistake.className = "mistake";
    mistake.setAttribute("role", "alert");
    mistake.textContent = sentence ? sentence.textContent : detailOf(told.body.textContent);
    const old = answer.querySelector(".mistake");
    if (old) old.remove();
    answer.prepend(mistake);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    ask();
  });
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (field.form !== form || !field.closest("#answer")) return;
    const output = field.parentElement.querySelector("output");
    if (output) output.value = field.name === "band" && Number(field.value) >= Number(field.max) ? "all" : Number(Number(field.value).toPrecision(3));
    clearTimeout(timer);
    timer = setTimeout(ask, 120);
  });
  document.getElementById("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  if (!photograph) return;
  const take = (files) => {
    const image = [...files].find((file) => file.type.startsWith("image/"));
    if (!image) return;
    const carrier = new DataTransfer();
    carrier.items.add(image);
    photograph.files = carrier.files;
    ask();
  };
  photograph.addEventListener("change", ask);
  document.addEventListener("paste", (event) => {
    if (event.clipboardData && event.clipboardData.files.length) take(event.clipboardData.files);
  });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  });
}

function detailOf(problem) {
  try {
    return JSON.parse(problem).detail;
  } catch {
    return "The server gave no answer that can be shown: try again.";
  }
}

async function followJob(address) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const old = document.getElementById("job");
    if (!old || !old.hasAttribute("data-job")) return;
    let response;
    try {
      response = await fetch(address + "?part=job");
    } catch {
      continue;
    }
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("job");
    if (!response.ok || !fresh) return location.reload();
    old.replaceWith(document.adoptNode(fresh));
  }
}
