// Package arrivals asks what a connection has received that nobody has read yet. TLS
// yields record by record: who wants to work on all that have come has to know, before
// the next read, whether that would wait.
package arrivals

// LargestRecord is the most that a TLS record takes: 2^14 + 256 bytes behind a header of
// 5 (RFC 8446 §5.2). TLS 1.2 allows for more, which no cipher suite that is in use
// needs.
const LargestRecord = 5 + 1<<14 + 256

// Together is how many bytes of records are enough to be worked on without looking for
// more: a message of 64 KiB, but for what its last record may lack.
const Together = 60 << 10

// Records returns how many reads of the TLS connection above bring something without
// waiting, at least. A read yields a record, and so many have come, however large they
// are, behind the rest of the one that has begun. It is 0 where that cannot be told. It
// may be too much only if a peer sends records without content, each as large as one
// with: then that peer's own bytes wait for what it sends next.
func (a *Arrivals) Records() int { return a.Unread() / LargestRecord }
