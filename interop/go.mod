module github.com/wsmux/websocket/interop

go 1.26.0

require github.com/wsmux/websocket v0.0.0

replace github.com/wsmux/websocket => ../
