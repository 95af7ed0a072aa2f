document.documentElement.dataset.ready = "0";
