package autobahn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// A Lobby is where the fuzzer, as a server, waits for the client under test. Its
// Serve methods accept what comes by each bootstrap.
type Lobby struct {
	mu     sync.Mutex
	guests map[string]*guest
	wg     sync.WaitGroup // clients that were started
}

// A guest is a case that is waited for.
type guest struct {
	hello  Hello
	answer string
	stream chan Stream // has room for one
}

// pathPrefix stands before a case's ID in the path of its request.
const pathPrefix = "/case/"

// Opener returns an Opener for a client that is started by run: it opens a
// socket at the URL, within ctx, and returns every message to where it came
// from until the socket has ended. base is the URL of the lobby's server.
func (l *Lobby) Opener(base string, run func(ctx context.Context, url string) error) Opener {
	return func(ctx context.Context, h Hello) (Stream, string, error) {
		g := &guest{hello: h, stream: make(chan Stream, 1)}
		if err := l.expect(g); err != nil {
			return nil, "", err
		}
		defer l.forget(g)

		// The client's context goes on after ours: it may learn of the
		// handshake's end later than we do. The goroutine ends with the client.
		left := make(chan error, 1)
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), openLimit)
		l.wg.Go(func() {
			defer cancel()
			left <- run(own, base+pathPrefix+h.Case)
		})
		select {
		case s := <-g.stream:
			return s, g.answer, nil
		case err := <-left:
			return nil, "", fmt.Errorf("the client opened no socket: %w", err)
		case <-ctx.Done():
			cancel()
			return nil, "", fmt.Errorf("waiting for the client: %w", ctx.Err())
		}
	}
}

// Wait waits until every client that was started has ended.
func (l *Lobby) Wait() { l.wg.Wait() }

func (l *Lobby) expect(g *guest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.guests == nil {
		l.guests = make(map[string]*guest)
	}
	if l.guests[g.hello.Case] != nil {
		return errors.New("the case is being played already")
	}
	l.guests[g.hello.Case] = g
	return nil
}

// forget stops waiting. A stream that came too late is aborted.
func (l *Lobby) forget(g *guest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.guests, g.hello.Case)
	select {
	case s := <-g.stream:
		s.Abort()
	default:
	}
}

// admit finds the case that a request is for and settles the extensions.
func (l *Lobby) admit(path, offer string) (*guest, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := strings.TrimPrefix(path, pathPrefix)
	g := l.guests[id]
	if g == nil {
		return nil, fmt.Errorf("nobody waits for case %q", id)
	}
	g.answer = g.hello.Answer(offer)
	return g, nil
}

// enter hands the stream over, once the handshake is done.
func (l *Lobby) enter(g *guest, s Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.guests[g.hello.Case] != g || len(g.stream) > 0 {
		s.Abort()
		return
	}
	g.stream <- s
}
