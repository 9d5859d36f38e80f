// Package wstest is the project's test kit: an in-memory pair of streams, a
// scripted peer that may break every rule, certificates, a connection that
// fails on schedule, and a check that no goroutine is left behind.
//
// The pieces work outside and inside a [testing/synctest] bubble: whatever
// waits does so on the bubble's clock, so that a timeout of 30 s is tested to
// the nanosecond in microseconds.
//
// A typical test joins a Conn and a scripted peer:
//
//	a, b := wstest.Pipe(wstest.PipeOptions{})
//	c := websocket.New(a, websocket.Params{})
//	p := wstest.NewClient(b)
//	p.Send(t, wstest.Text("hello"))
//	p.WantFrame(t, frame.Text, "hello", "the handler echoes")
//	p.WantClose(t, 1000, "the handler returned")
//	p.WantEOF(t, "the server ends the stream first")
package wstest
