package h2connect

import (
	"errors"
	"net/http"
)

// A claimedConn is one connection as http.ClientConn sees it: streams are claimed
// by Reserve and used by RoundTrip.
type claimedConn struct {
	*ClientConn
	claims int // the connection's lock guards it
}

// RoundTrip implements http.RoundTripper. It uses a claim if there is one, and
// waits for a free stream otherwise.
func (cc *claimedConn) RoundTrip(req *http.Request) (*http.Response, error) {
	if !cc.takeClaim() {
		return cc.ClientConn.RoundTrip(req)
	}
	resp, begun, err := cc.roundTrip(req)
	if errors.Is(err, errLowered) {
		return cc.ClientConn.RoundTrip(req)
	}
	if !begun {
		closeBody(req)
	}
	return resp, err
}

func (cc *claimedConn) takeClaim() bool {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	if cc.claims == 0 {
		return false
	}
	cc.claims--
	return true
}

// Reserve claims a stream. The error says that none is free.
func (cc *claimedConn) Reserve() error {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	if err := cc.usable(); err != nil {
		return err
	}
	if cc.room() <= 0 {
		return errConnDrained
	}
	cc.reserved++
	cc.claims++
	return nil
}

// Release gives a claim back, if there is one.
func (cc *claimedConn) Release() {
	if cc.takeClaim() {
		cc.release(false)
	}
}

// Err returns why the connection takes no more requests, nil if it does.
func (cc *claimedConn) Err() error {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	return cc.usable()
}

// Available returns how many more requests the connection takes now.
func (cc *claimedConn) Available() int {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	if cc.usable() != nil {
		return 0
	}
	return max(cc.room(), 0)
}

// InFlight returns how many streams are open or claimed.
func (cc *claimedConn) InFlight() int {
	cc.c.mu.Lock()
	defer cc.c.mu.Unlock()
	if cc.c.err != nil {
		return 0
	}
	return cc.c.slots + cc.reserved
}
