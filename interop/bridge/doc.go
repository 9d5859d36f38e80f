// Package bridge tests negotiate.Bridge with servers that know nothing of it:
// gorilla/websocket, coder/websocket, gobwas/ws, lxzan/gws and x/net/websocket,
// as they are, behind a router with "GET /…" routes. Each goes through the short
// matrix over HTTP/1.1, HTTP/2 and HTTP/3 with the same expectations, and two of
// them through categories 1 to 10 of the Autobahn table, where what they do must
// be the same over all three. Chromium shows the demo's page through
// examples/proxy.
package bridge
