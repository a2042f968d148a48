/**
 * The bare WebSocket server: sends back what it gets. For latency, and for the memory of idle connections.
 * @module
 */

if (import.meta.main) {
  Deno.serve(
    {
      port: 0,
      hostname: "127.0.0.1",
      onListen: ({ port }) => console.error(`listening on ws://127.0.0.1:${port}`),
    },
    (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.binaryType = "arraybuffer";
      socket.onmessage = ({ data }) => socket.send(data);
      return response;
    },
  );
}
