package negotiate

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// defaultHeadStart is Dialer.HeadStart's.
const defaultHeadStart = 300 * time.Millisecond

// race runs first and, when that has failed or headStart is over, second beside
// it; a negative headStart never ends. It returns which of them succeeded first,
// 0 or 1, or -1 for neither, and their errors; the other one's context is
// cancelled then, and it is waited for. An error of errNotBegun says that second
// was not needed.
//
// The goroutines are those of first and second, and end with them.
func race(ctx context.Context, headStart time.Duration, first, second func(context.Context) error) (winner int, errs [2]error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		leg int
		err error
	}
	results := make(chan result, 2)
	begin := func(leg int, run func(context.Context) error) {
		go func() { results <- result{leg, run(ctx)} }()
	}
	var late <-chan time.Time
	if headStart >= 0 {
		timer := time.NewTimer(headStart)
		defer timer.Stop()
		late = timer.C
	}
	winner, errs[1] = -1, errNotBegun
	begin(0, first)
	running := 1
	beginSecond := func() {
		if errs[1] == errNotBegun && winner < 0 && ctx.Err() == nil {
			errs[1] = nil
			running++
			begin(1, second)
		}
	}
	for running > 0 {
		select {
		case <-late:
			late = nil
			beginSecond()
		case r := <-results:
			running--
			errs[r.leg] = r.err
			switch {
			case r.err != nil:
				beginSecond()
			case winner < 0:
				winner = r.leg
				cancel()
			}
		}
	}
	return winner, errs
}

var errNotBegun = errors.New("not needed")

// stagger is the time after which an attempt to connect gets company: RFC 8305's
// Connection Attempt Delay, with the value that its §5 recommends.
const stagger = 250 * time.Millisecond

// interleave orders addresses so that the families take turns, beginning with
// that of the first address (RFC 8305 §4). Within a family the resolver's order,
// which is that of RFC 6724, stays.
func interleave(ips []netip.Addr) []netip.Addr {
	if len(ips) == 0 {
		return nil
	}
	var families [2][]netip.Addr
	for _, ip := range ips {
		ip = ip.Unmap()
		i := 0
		if ip.Is4() != ips[0].Unmap().Is4() {
			i = 1
		}
		families[i] = append(families[i], ip)
	}
	list := make([]netip.Addr, 0, len(ips))
	for i := 0; len(list) < len(ips); i++ {
		for _, f := range families {
			if i < len(f) {
				list = append(list, f[i])
			}
		}
	}
	return list
}

// firstOf tries addresses one after the other, the next one when one has failed or
// has been at it for the time of stagger, and returns the first connection (RFC
// 8305 §5). Each attempt is a goroutine that ends with its dial, whose context is
// cancelled when another one has won; a connection that comes too late is closed.
func firstOf(ctx context.Context, addrs []netip.AddrPort, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		nc  net.Conn
		err error
	}
	results := make(chan result)
	next := time.NewTimer(0)
	defer next.Stop()
	var failed error
	for running := 0; len(addrs) > 0 || running > 0; {
		var due <-chan time.Time
		if len(addrs) > 0 {
			due = next.C
		}
		select {
		case <-due:
			addr := addrs[0]
			addrs = addrs[1:]
			running++
			next.Reset(stagger)
			go func() {
				nc, err := dial(ctx, addr)
				select {
				case results <- result{nc, err}:
				case <-ctx.Done():
					if nc != nil {
						nc.Close()
					}
				}
			}()
		case r := <-results:
			running--
			if r.err == nil {
				return r.nc, nil
			}
			if failed == nil {
				failed = r.err // the preferred address's says most
			}
			next.Reset(0)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if failed == nil {
		failed = errNoAddress
	}
	return nil, failed
}

var errNoAddress = errors.New("no address")
