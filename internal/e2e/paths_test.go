package e2e

import (
	"slices"
	"testing"

	"github.com/wsmux/websocket"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/negotiate"
)

// A path is a way from a client to a server. What a test says of sockets holds on
// each of them: a test is written once, for a transport, and gets them all. One
// that cannot mean the same everywhere says so where the paths differ.
type path struct {
	name string
	open func(t testing.TB) transport
}

// direct are the transports, with the bootstrap's own package at both ends.
func direct() []path {
	var all []path
	for _, tr := range transports {
		all = append(all, path{tr.name, func(testing.TB) transport { return tr }})
	}
	return all
}

// proxied are the pairs of transports with a ReverseProxy between them, from each
// kind to each. Configure may be nil.
func proxied(configure func(*negotiate.ReverseProxy)) []path {
	var all []path
	for _, front := range transports {
		for _, back := range transports {
			if front.name == "h1+TLS" && back.name != "h1" || back.name == "h1+TLS" && front.name != "h2" {
				continue // once on either side is enough: else as h1
			}
			all = append(all, path{front.name + " to " + back.name, func(t testing.TB) transport {
				return front.through(t, back, configure)
			}})
		}
	}
	return all
}

// negotiated are the transports with package negotiate at both ends.
func negotiated() []path {
	var all []path
	for _, tr := range transports {
		all = append(all, path{tr.name + " negotiated", func(t testing.TB) transport { return tr.negotiated(t) }})
	}
	return all
}

// bridged are the transports that have something to bridge, with handlers behind
// a Bridge.
func bridged() []path {
	var all []path
	for _, tr := range transports {
		if tr.bootstrap != websocket.HTTP1 {
			all = append(all, path{tr.name + " bridged", func(testing.TB) transport { return tr.bridged() }})
		}
	}
	return all
}

// everyPath are the paths on which all tests run that do not say otherwise: the
// transports, and the pairs with a proxy.
func everyPath() []path { return slices.Concat(direct(), proxied(nil)) }

// onEach runs a test on every path, and checks that no goroutine is left behind.
func onEach(t *testing.T, test func(t *testing.T, tr transport)) {
	t.Helper()
	on(t, everyPath(), test)
}

// onEachWay runs a test as onEach does, and with package negotiate and with a
// Bridge before the handlers.
func onEachWay(t *testing.T, test func(t *testing.T, tr transport)) {
	t.Helper()
	on(t, slices.Concat(everyPath(), negotiated(), bridged()), test)
}

// onProxies runs a test through a ReverseProxy, which is configured as the test
// wants it, from each transport to each.
func onProxies(t *testing.T, configure func(*negotiate.ReverseProxy), test func(t *testing.T, tr transport)) {
	t.Helper()
	on(t, proxied(configure), test)
}

// on runs a test on these paths, on several at the same time. It returns when all
// have ended.
func on(t *testing.T, paths []path, test func(t *testing.T, tr transport)) {
	t.Helper()
	t.Run("on", func(t *testing.T) { // whose end the parallel ones wait for, and on waits for theirs
		wstest.NoLeaks(t)
		for _, p := range paths {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				test(t, p.open(t))
			})
		}
	})
}

// oneByOne runs a test on these paths, on one at a time: for tests that look at
// what the whole process does.
func oneByOne(t *testing.T, paths []path, test func(t *testing.T, tr transport)) {
	t.Helper()
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			wstest.NoLeaks(t)
			test(t, p.open(t))
		})
	}
}
