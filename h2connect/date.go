package h2connect

import (
	"net/http"
	"sync/atomic"
	"time"
)

// lastDate is the last Date field that was made.
var lastDate atomic.Pointer[struct {
	second int64
	text   string
}]

// dateNow returns a Date field's value (RFC 9110 §6.6.1), which is another one every
// second.
func dateNow() string {
	now := time.Now()
	if d := lastDate.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	text := now.UTC().Format(http.TimeFormat)
	lastDate.Store(&struct {
		second int64
		text   string
	}{now.Unix(), text})
	return text
}
