package autobahn

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Role is one end of a socket.
type Role string

// The two roles. The fuzzer plays the other one.
const (
	Server Role = "server"
	Client Role = "client"
)

// A Hello is what an opening handshake for a case needs.
type Hello struct {
	// Case is the case's ID: it stands in the request's path, for whoever looks.
	Case string

	// Offer is Sec-WebSocket-Extensions as the fuzzer sends it, if the fuzzer is
	// the client. Empty: none.
	Offer string

	// Answer returns Sec-WebSocket-Extensions for the offer of the client under
	// test, if the fuzzer is the server. Empty: none.
	Answer func(offer string) string
}

// An Opener opens a socket to the endpoint under test and hands its raw stream
// over. If the fuzzer is the client, answer is the server's
// Sec-WebSocket-Extensions; if it is the server, answer is what Hello.Answer
// returned.
type Opener func(ctx context.Context, h Hello) (s Stream, answer string, err error)

// Options say what is run, and how.
type Options struct {
	Testee    Role   // the end that is under test
	Transport string // for the report: "HTTP/2 over TLS"
	Agent     string // for the report: the name of what is tested

	// Cases are played in this order, as far as they are played one after the
	// other. Nil: all.
	Cases []*Case

	// Slack multiplies the suite's time limits. Zero: 1.
	Slack float64

	// Volume bounds, in octets of payload, the messages that a case of several
	// sends: it sends fewer, but never fewer than 16. Zero: no bound.
	Volume int64

	// Parallel is how many cases are played at the same time, and Heavy how many
	// of those with much traffic. Zero: 8 and 2.
	Parallel, Heavy int

	// Progress, if not nil, is called after each case, by one goroutine at a
	// time.
	Progress func(done, total int, r *Result)
}

// A Result is what came of a case.
type Result struct {
	ID          string `json:"id"`
	Title       string `json:"title"`
	Expectation string `json:"expectation"`

	Behavior         Verdict `json:"behavior"`
	Explanation      string  `json:"explanation"`
	BehaviorClose    Verdict `json:"behaviorClose"`
	ExplanationClose string  `json:"explanationClose"`

	Started         time.Time     `json:"started"`
	Duration        time.Duration `json:"duration"`
	ClosedByFuzzer  bool          `json:"closedByFuzzer"`
	DroppedByFuzzer bool          `json:"droppedByFuzzer"`
	WasClean        bool          `json:"wasClean"`
	RemoteCloseCode int           `json:"remoteCloseCode,omitempty"`

	// Ended is how the endpoint ended the stream: "in order", with an error, or
	// not at all. The verdicts do not depend on it.
	Ended string `json:"ended"`

	// Of cases with traffic: messages sent, their octets each way, and the
	// octets of payload that their frames had.
	Messages   int   `json:"messages,omitempty"`
	PayloadOut int64 `json:"payloadOut,omitempty"`
	WireOut    int64 `json:"wireOut,omitempty"`
	PayloadIn  int64 `json:"payloadIn,omitempty"`
	WireIn     int64 `json:"wireIn,omitempty"`

	Extensions string `json:"extensions,omitempty"` // the answer in the handshake
	Log        []Line `json:"log"`
}

// Passed says whether both verdicts are OK, or informational where the suite
// gives no other.
func (r *Result) Passed() bool {
	fine := func(v Verdict) bool { return v == OK || v == Informational }
	return fine(r.Behavior) && fine(r.BehaviorClose)
}

// Run plays the cases over streams that open opens. When ctx ends it opens no
// more.
func Run(ctx context.Context, o Options, open Opener) *Report {
	if o.Cases == nil {
		o.Cases = Cases()
	}
	if o.Slack == 0 {
		o.Slack = 1
	}
	rep := &Report{
		Testee: o.Testee, Transport: o.Transport, Agent: o.Agent,
		Started: time.Now(), Results: make([]*Result, len(o.Cases)),
		Slack: o.Slack, Volume: o.Volume,
	}
	p := &pool{options: o, open: open, report: rep}
	p.all(ctx, false, orDefault(o.Parallel, 8))
	p.all(ctx, true, orDefault(o.Heavy, 2))
	rep.Duration = time.Since(rep.Started)
	return rep
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// A pool plays cases at the same time.
type pool struct {
	options Options
	open    Opener
	report  *Report

	mu   sync.Mutex
	done int
}

// all plays the heavy cases, or the others, n at a time. The goroutines end when
// there are no cases left; each plays one case at a time.
func (p *pool) all(ctx context.Context, heavy bool, n int) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for i := range next {
				p.one(ctx, i)
			}
		})
	}
	for i, c := range p.options.Cases {
		if c.heavy == heavy {
			next <- i
		}
	}
	close(next)
	wg.Wait()
}

func (p *pool) one(ctx context.Context, i int) {
	c := p.options.Cases[i]
	r := &Result{ID: c.ID, Title: c.Title, Expectation: c.Expectation, Started: time.Now()}
	p.play(ctx, c, r)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Results[i] = r
	p.done++
	if p.options.Progress != nil {
		p.options.Progress(p.done, len(p.options.Cases), r)
	}
}

// openLimit bounds the opening handshake.
const openLimit = 10 * time.Second

// play opens a socket and plays a case on it.
func (p *pool) play(ctx context.Context, c *Case, r *Result) {
	s := &session{
		test: c, result: r, masks: p.options.Testee == Server,
		slack: p.options.Slack, volume: p.options.Volume,
	}
	ctx, cancel := context.WithTimeout(ctx, s.scaled(openLimit))
	stream, err := s.shakeHands(ctx, p.open)
	cancel()
	if err != nil {
		r.Behavior, r.BehaviorClose = Failed, Failed
		r.Explanation = fmt.Sprintf("the opening handshake failed: %v", err)
		r.Duration = time.Since(r.Started)
		if stream != nil {
			stream.Abort()
		}
		return
	}
	s.stream = stream
	s.play()
}

// shakeHands opens the stream and settles the compression.
func (s *session) shakeHands(ctx context.Context, open Opener) (Stream, error) {
	all := s.test.terms
	h := Hello{Case: s.test.ID}
	var failure error
	if s.masks {
		h.Offer = offer(all)
	} else {
		h.Answer = func(offers string) (answer string) {
			if all != nil {
				answer, s.deflate, failure = answerTo(offers, all)
			}
			return answer
		}
	}
	stream, answer, err := open(ctx, h)
	if err != nil {
		return nil, err
	}
	if s.masks {
		s.deflate, failure = checkAnswer(answer, all)
	}
	s.result.Extensions = answer
	return stream, failure
}

// report puts what the session knows into the result.
func (s *session) report() {
	r := s.result
	r.Duration = time.Since(s.start)
	r.ClosedByFuzzer, r.DroppedByFuzzer = s.closedByFuzzer, s.droppedByFuzzer
	r.WasClean, r.RemoteCloseCode, r.Ended = s.wasClean, s.remoteCode, s.end
	r.Log = s.log.lines()
	if s.test.traffic != nil {
		r.Messages = s.run.sent
		r.PayloadOut, r.WireOut = s.run.payloadOut, s.run.wireOut
		r.PayloadIn, r.WireIn = s.run.payloadIn, s.run.wireIn
	}
}
