package negotiate

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/wsmux/websocket"
)

// A Reconnector keeps a socket open: when it has ended, or could not be opened, a
// new one is dialled after a while. The fields are set before [Reconnector.Run]
// and not changed afterwards; one Reconnector may run any number of times, also at
// once.
//
// The wait after attempt n of a series is chosen at random between zero and
// MinDelay × 2ⁿ⁻¹, at most MaxDelay ("full jitter"), so that the clients of a
// server that restarts do not come back all at once. A socket that lived as long
// as Young ends the series: the wait after it is that after a first attempt. A Retry-After of the server's lengthens the
// wait, by an hour at most.
type Reconnector struct {
	// URL is what is dialled.
	URL string

	// Dialer dials. Nil: a Dialer of this Run's own, which is closed at its end.
	Dialer *Dialer

	// Options are the options of each dial. Nil: the zero value.
	Options *websocket.DialOptions

	// MinDelay and MaxDelay bound the waits as said above. Zero or negative:
	// 500 ms and 30 s.
	MinDelay, MaxDelay time.Duration

	// Young is the age before which the end of a socket counts as a failed
	// attempt. If it then ended without a closing handshake (1006), the next
	// attempt tries its bootstrap last: a proxy on the way may let the handshake
	// pass and nothing more. Zero or negative: 10 s.
	Young time.Duration

	// Before, if not nil, is called before each dial with the number of the
	// attempt in its series, from 1, and a copy of Options, whose Header is a copy
	// too: to put in a fresh token, for instance. Its error ends Run.
	Before func(ctx context.Context, attempt int, o *websocket.DialOptions) error

	// After, if not nil, is called with what came of each attempt: nil for a
	// socket that has been opened, just before serve is called, otherwise the
	// dial's error; and with the end of each socket, which is what serve
	// returned. wait is the time until the next attempt, 0 if there is none.
	After func(attempt int, err error, wait time.Duration)

	// Retry, if not nil, decides whether a dial that failed with err is worth
	// another attempt. Nil: a refusal with a status from 400 to 499 is not, but
	// for 408, 421, 425 and 429; everything else is.
	Retry func(err error) bool
}

// The defaults of Reconnector.
const (
	defaultMinDelay = 500 * time.Millisecond
	defaultMaxDelay = 30 * time.Second
	defaultYoung    = 10 * time.Second
	maxRetryAfter   = time.Hour
)

// Run dials and calls serve with the socket, again and again, until serve returns
// nil, which Run returns too, or ctx ends, whose cause it returns, or an error is
// not worth another attempt. The socket is serve's to use and is aborted, if it
// has not been closed, when serve returns. serve's context is ctx.
//
// Arguments that cannot be dialled are an error at once.
func (r *Reconnector) Run(ctx context.Context, serve func(ctx context.Context, c *websocket.Conn) error) error {
	d := r.Dialer
	if d == nil {
		d = new(Dialer)
		defer d.Close()
	}
	s := series{r: r}
	for {
		tried, err := s.attempt(ctx, d, serve)
		cut := ctx.Err() != nil
		over := cut || err == nil || s.final
		wait := time.Duration(0)
		if !over {
			wait = s.wait(err)
		}
		if tried && r.After != nil {
			r.After(s.n, err, wait)
		}
		switch {
		case cut:
			return context.Cause(ctx)
		case over:
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// A series are the attempts since a socket last lived for long.
type series struct {
	r     *Reconnector
	n     int                 // attempts
	avoid websocket.Bootstrap // whose last socket died young; 0 for none
	final bool                // no further attempt
}

// attempt dials once, unless Before is against it, and serves the socket. It
// returns what serve did, or the dial's error.
func (s *series) attempt(ctx context.Context, d *Dialer, serve func(context.Context, *websocket.Conn) error) (tried bool, err error) {
	s.n++
	o, err := s.options(ctx)
	if err != nil {
		s.final = true
		return false, err
	}
	c, _, err := d.dial(ctx, s.r.URL, o, s.avoid)
	if err != nil {
		s.final = ctx.Err() == nil && !s.worthAnother(err)
		return true, err
	}
	if s.r.After != nil {
		s.r.After(s.n, nil, 0)
	}
	begin := time.Now()
	err = serve(ctx, c)
	c.CloseNow()
	if err == nil {
		return true, nil
	}
	young := orPositive(s.r.Young, defaultYoung)
	switch age := time.Since(begin); {
	case age >= young:
		s.n, s.avoid = 0, 0
	case broke(err):
		s.avoid = c.Bootstrap()
	}
	return true, err
}

// options returns the options of the next dial.
func (s *series) options(ctx context.Context) (*websocket.DialOptions, error) {
	if s.r.Before == nil {
		return s.r.Options, nil
	}
	o := new(websocket.DialOptions)
	if s.r.Options != nil {
		*o = *s.r.Options
	}
	o.Header = o.Header.Clone()
	if o.Header == nil {
		o.Header = make(http.Header)
	}
	return o, s.r.Before(ctx, s.n, o)
}

// broke reports whether a socket ended without a closing handshake.
func broke(err error) bool {
	var end *websocket.CloseError
	return errors.As(err, &end) && end.Code == websocket.StatusAbnormalClosure
}

// worthAnother reports whether a dial that failed with err may succeed later.
func (s *series) worthAnother(err error) bool {
	if s.r.Retry != nil {
		return s.r.Retry(err)
	}
	if !errors.As(err, new(*DialError)) {
		return false // the arguments are at fault, or the Dialer is closed
	}
	refused := refusalOf(err)
	if refused == nil || refused.Status < 400 || refused.Status > 499 {
		return true
	}
	switch refused.Status {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return false
}

// wait returns how long to wait after an attempt that ended with err.
func (s *series) wait(err error) time.Duration {
	most := orPositive(s.r.MaxDelay, defaultMaxDelay)
	bound := min(orPositive(s.r.MinDelay, defaultMinDelay), most)
	for i := 1; i < s.n && bound < most; i++ {
		bound = min(2*bound, most)
	}
	return retryAfter(err, time.Now()) + jitter(bound)
}

// retryAfter returns how long a refusal wants its receiver to wait (RFC 9110
// §10.2.3), 0 if it does not say.
func retryAfter(err error, now time.Time) time.Duration {
	refused := refusalOf(err)
	if refused == nil {
		return 0
	}
	value := refused.Header.Get("Retry-After")
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// jitter returns a random duration below bound, which is positive.
func jitter(bound time.Duration) time.Duration {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return time.Duration(binary.LittleEndian.Uint64(b[:]) % uint64(bound))
}

func orPositive(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}
