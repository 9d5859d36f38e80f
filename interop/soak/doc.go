// Package soak runs sockets over HTTP/1.1, HTTP/2 and HTTP/3 for as long as one
// likes, on networks that slice, delay, lose, stall, cut and reset, with both
// ends doing at random whatever the API allows and ordinary requests beside
// them. Every operation is recorded. What must hold afterwards:
//
//   - a message accepted by Write before an orderly close is received once, whole
//     and in order; whatever the end was, what was received is a beginning of
//     what was sent;
//   - nothing is received that was written after Close, or refused;
//   - where the network did no harm, every socket ended in a way that one of its
//     ends asked for, and every request was answered, to the byte; where it did,
//     a socket may have ended with status 1006 instead, and says why;
//   - servers that are shut down in the middle of it end their sockets with 1001,
//     and of these the same is true;
//   - everything ends in bounded time, and then goroutines, file descriptors and
//     the heap are what they were.
//
// All choices follow from a seed and an episode's number, so that an episode can
// be run again, alone and over and over. (What the scheduler and the kernel do
// between its operations cannot be replayed, except in the test that runs on a
// virtual clock, and there only nearly.)
//
//	SOAK_DURATION=10m go test ./soak       as long as that; default 10s
//	SOAK_SEED=7 go test ./soak             with that seed; default 1 and a new one
//	SOAK_SEED=7 SOAK_EPISODE=12 go test …  that episode alone, again and again
package soak
