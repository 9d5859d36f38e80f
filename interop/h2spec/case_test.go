package h2spec

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
	"github.com/wsmux/websocket/internal/wstest"
	"github.com/wsmux/websocket/interop/internal/matrix"
)

func TestMain(m *testing.M) {
	os.Exit(matrix.Main("h2spec", func() int { return wstest.Main(m) }))
}

// rowOf returns the row of the matrix.
func rowOf(secure bool) matrix.Row {
	if secure {
		return matrix.Row{Peer: "h2spec", Role: matrix.Suite, Transport: "h2"}
	}
	return matrix.Row{Peer: "h2spec", Role: matrix.Suite, Transport: "h2c"}
}

// patience is how long a case waits for an answer. Those that pass do not wait.
const patience = 10 * time.Second

// A serverCase is a case of the suite with the number that the suite gives it.
type serverCase struct {
	id string
	*spec.TestCase
}

// serverCases returns the suite's cases for servers, the strict ones included.
// The suite's own runner is not used: it prints, and exits the process when a
// connection cannot be made.
func serverCases() []serverCase {
	var all []serverCase
	for _, root := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		all = appendGroup(all, root)
	}
	return append(all, laterCases()...)
}

func appendGroup(all []serverCase, g *spec.TestGroup) []serverCase {
	for i, tc := range slices.Concat(g.Tests, g.StrictTests) {
		all = append(all, serverCase{fmt.Sprintf("%s/%d", g.ID(), i+1), tc})
	}
	for _, sub := range g.Groups {
		all = appendGroup(all, sub)
	}
	return all
}

// run runs the case on a connection of its own.
func (sc serverCase) run(t *testing.T, c *config.Config) {
	conn, err := spec.Dial(c)
	if err != nil {
		t.Fatalf("%s: %v", sc.Desc, err)
	}
	defer conn.Close()
	judge(t, sc.Desc, sc.Requirement, sc.Run(c, conn))
}

// judge turns what a case returns into the subtest's result. A case that was
// skipped has failed: the suite skips what a server keeps it from testing.
func judge(t *testing.T, desc, requirement string, err error) {
	t.Helper()
	if err == nil || closedByReset(err) {
		return
	}
	var te *spec.TestError
	if !errors.As(err, &te) {
		t.Fatalf("%s: %v", desc, err)
	}
	t.Fatalf("%s\n%s\nexpected: %s\n  actual: %s", desc, requirement, strings.Join(te.Expected, "\n      or: "), te.Actual)
}

// closedByReset reports whether a case that accepts a closed connection has seen
// one: this version of the suite does not recognize a TCP reset in the form in
// which package net reports it, later ones do. It is net/http that closes
// without having read everything, when a connection without TLS does not begin
// with the preface.
func closedByReset(err error) bool {
	var te *spec.TestError
	return errors.As(err, &te) &&
		slices.Contains(te.Expected, spec.ExpectedConnectionClosed) &&
		strings.HasSuffix(te.Actual, "connection reset by peer")
}
