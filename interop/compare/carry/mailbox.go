package carry

import "sync"

// maxWaiting bounds the messages that wait in a mailbox.
const maxWaiting = 1 << 16

// A mailbox holds the messages to one channel until they are fetched. Messages
// have numbers, from 1.
type mailbox struct {
	mu      sync.Mutex
	waiting [][]byte
	first   int           // number of waiting[0]
	more    chan struct{} // closed, and made anew, when there are more
	over    bool          // too many waited
}

func newMailbox() *mailbox {
	return &mailbox{first: 1, more: make(chan struct{})}
}

// deliver puts a message in; it is not to be changed afterwards.
func (b *mailbox) deliver(m []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == maxWaiting {
		b.over = true
		return
	}
	b.waiting = append(b.waiting, m)
	close(b.more)
	b.more = make(chan struct{})
}

// after drops the messages up to number n, which have arrived, and returns those
// behind it with the number of the last one. more is closed when there are others.
func (b *mailbox) after(n int) (messages [][]byte, last int, more <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	end := b.first + len(b.waiting) - 1
	if n > end || n < b.first-1 || b.over {
		return nil, end, b.more, false
	}
	b.waiting = b.waiting[n-b.first+1:]
	b.first = n + 1
	return append([][]byte(nil), b.waiting...), end, b.more, true
}
