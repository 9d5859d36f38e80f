package h3connect

import "github.com/wsmux/websocket/internal/registry"

// A program that names this package can accept HTTP/3 through negotiate.Accept
// too.
func init() { registry.SetHTTP3(Accept) }
