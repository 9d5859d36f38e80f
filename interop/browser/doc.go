// Package browser tests the library's servers with browsers: Chromium and
// Firefox, headless, each on every transport that it has WebSocket for.
//
// There is no driver. A page runs the cases of page/cases.js and posts each
// result to the server that it came from; the tests then compare with what the
// server saw of every socket: the bootstrap, the transport connection, the
// header fields, and how it ended.
//
//	go -C interop test -v ./browser
//
// A browser that is not in PATH is skipped, or a failure with INTEROP_REQUIRE=1.
// Firefox needs certutil, of the NSS tools, too. INTEROP_BROWSER_DIR names a
// directory for the screenshots of the result tables; without it they go with
// the test's temporary directory.
package browser
