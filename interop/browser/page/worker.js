"use strict";
// A worker that is terminated with its socket open.
onmessage = (event) => {
  const socket = new WebSocket(event.data);
  socket.onmessage = (message) => postMessage(message.data);
  socket.onopen = () => socket.send("open");
  socket.onerror = () => postMessage("error");
};
