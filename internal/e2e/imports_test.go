package e2e

import (
	"encoding/json"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/wsmux/websocket"

// allowed says what each package of the library links besides the standard
// library: packages of this module by their path in it, "." for the root, and
// of other modules by prefix. What a package of this module may link, those may
// that link it. Imports point one way:
//
//	frame  ◄─ websocket (root) ◄─ h1upgrade | h2connect | h3connect   (never each other)
//	                           ◄─ negotiate (h1upgrade and h2connect; HTTP/3 is handed to it)
//
// A package that is not listed fails the test, so that a new one is thought
// about.
var allowed = map[string][]string{
	"frame":              {},
	"internal/deflate":   {"github.com/klauspost/compress/flate", "github.com/klauspost/compress/internal/"},
	"internal/lifetime":  {},
	".":                  {"frame", "internal/deflate", "internal/lifetime"},
	"internal/tunnel":    {".", "internal/observe"},
	"internal/handshake": {".", "internal/tunnel", "golang.org/x/net/http/httpguts", "golang.org/x/net/idna", "golang.org/x/text/"},
	"internal/sockets":   {".", "internal/tunnel"},
	"internal/registry":  {"."},
	"internal/altsvc":    {},
	"internal/arrivals":  {},
	"internal/tlsrecord": {},
	"internal/observe":   {"."},
	"internal/serving":   {"internal/observe"},
	"h1upgrade":          {".", "internal/handshake", "internal/sockets", "internal/arrivals", "internal/tlsrecord"},
	"h2connect":          {".", "internal/handshake", "internal/sockets", "internal/serving", "internal/arrivals", "internal/tlsrecord", "golang.org/x/net/http2", "golang.org/x/net/internal/", "golang.org/x/sys/"},
	"h3connect":          {".", "internal/handshake", "internal/sockets", "internal/registry", "internal/altsvc", "internal/serving", "github.com/quic-go/", "golang.org/x/"},
	"negotiate":          {"h1upgrade", "h2connect", "internal/handshake", "internal/sockets", "internal/registry", "internal/altsvc", "internal/serving", "internal/tunnel", "internal/arrivals", "internal/tlsrecord", "golang.org/x/net/proxy"},
}

// impure are standard packages that the codec does not link: it does no I/O, and
// knows no clock, no goroutine, no randomness and no system.
var impure = []string{"net", "context", "time", "sync", "os", "syscall", "io", "crypto/rand", "math/rand", "math/rand/v2", "log", "fmt"}

// unlisted are packages that no user links: they and what lies under them have
// no entry.
var unlisted = []string{"internal/wstest", "internal/e2e", "internal/readme", "examples"}

func isUnlisted(name string) bool {
	return slices.ContainsFunc(unlisted, func(p string) bool { return strings.HasPrefix(name+"/", p+"/") })
}

// A listed is what go list says of a package.
type listed struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	Deps         []string
	TestImports  []string
	XTestImports []string
}

// packages returns every package of this module and all that they link, by import
// path. It needs no network.
var packages = sync.OnceValues(func() (map[string]listed, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps,TestImports,XTestImports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	all := make(map[string]listed)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all[p.ImportPath] = p
	}
})

// graph returns packages, and the names of those of this module.
func graph(t testing.TB) (all map[string]listed, ours []string) {
	t.Helper()
	all, err := packages()
	if e, ok := err.(*exec.ExitError); ok {
		require.NoError(t, err, "%s", e.Stderr)
	}
	require.NoError(t, err)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if path == module || strings.HasPrefix(path, module+"/") {
			ours = append(ours, relative(path))
		}
	}
	return all, ours
}

// relative returns a package's name in the module, or its path if it belongs to
// another.
func relative(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func absolute(name string) string { return strings.TrimSuffix(module+"/"+name, "/.") }

// chain returns how from comes to link to: the shortest way from import to import.
func chain(all map[string]listed, from, to string) string {
	came := map[string]string{from: ""}
	for next := []string{from}; len(next) > 0; next = next[1:] {
		if next[0] == to {
			break
		}
		for _, p := range all[next[0]].Imports {
			if _, seen := came[p]; !seen {
				came[p] = next[0]
				next = append(next, p)
			}
		}
	}
	way := relative(to)
	for p := came[to]; p != ""; p = came[p] {
		way = relative(p) + " → " + way
	}
	return way
}

func TestImportsPointOneWay(t *testing.T) {
	all, ours := graph(t)
	for _, name := range ours {
		if isUnlisted(name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			_, ok := allowed[name]
			require.True(t, ok, "%s is a new package: say in allowed what it may link, or add it to unlisted", name)
			may := closure(name)
			links := func(dep string) bool {
				rel := relative(dep)
				return all[dep].Standard || slices.ContainsFunc(may, func(p string) bool {
					return rel == p || rel == dep && strings.HasPrefix(dep, p)
				})
			}
			// Of what may not be linked only the first step is told, not all that
			// follows from it.
			for _, from := range append(all[absolute(name)].Deps, absolute(name)) {
				if all[from].Standard || from != absolute(name) && !links(from) {
					continue
				}
				for _, dep := range all[from].Imports {
					if !links(dep) {
						t.Errorf("%s may not link %s, and does: %s", name, relative(dep), chain(all, absolute(name), dep))
					}
				}
			}
		})
	}
	for name := range allowed {
		assert.Contains(t, ours, name, "allowed has an entry for a package that is gone")
	}
}

// closure returns what a package may link: what it has an entry for, and what
// the packages of this module among that may link.
func closure(name string) []string {
	var list []string
	for _, p := range allowed[name] {
		list = append(list, p)
		list = append(list, closure(p)...)
	}
	return list
}

// The bootstraps know nothing of each other, and what chooses between them does
// not name HTTP/3.
func TestBootstrapsDoNotLinkEachOther(t *testing.T) {
	all, _ := graph(t)
	never := map[string][]string{
		"h1upgrade": {"h2connect", "h3connect", "negotiate"},
		"h2connect": {"h1upgrade", "h3connect", "negotiate"},
		"h3connect": {"h1upgrade", "h2connect", "negotiate"},
		"negotiate": {"h3connect"},
		".":         {"h1upgrade", "h2connect", "h3connect", "negotiate", "internal/handshake"},
	}
	for name, others := range never {
		for _, other := range others {
			if slices.Contains(all[absolute(name)].Deps, absolute(other)) {
				t.Errorf("%s may not link %s, and does: %s", name, other, chain(all, absolute(name), absolute(other)))
			}
		}
	}
}

// The codec links the standard library only, and of that no package with a
// door to the outside.
func TestFrameIsPure(t *testing.T) {
	all, _ := graph(t)
	deps := all[absolute("frame")].Deps
	require.NotEmpty(t, deps)
	for _, dep := range deps {
		if !all[dep].Standard || slices.Contains(impure, dep) {
			t.Errorf("frame may not link %s, and does: %s", dep, chain(all, absolute("frame"), dep))
		}
	}
}

// Programs that do not name h3connect do not link QUIC.
func TestOnlyHTTP3LinksQUIC(t *testing.T) {
	all, _ := graph(t)
	for name := range allowed {
		quic := slices.IndexFunc(all[absolute(name)].Deps, func(p string) bool { return strings.HasPrefix(p, "github.com/quic-go/") })
		if name == "h3connect" {
			assert.GreaterOrEqual(t, quic, 0, "the test knows what to look for")
			continue
		}
		if quic >= 0 {
			dep := all[absolute(name)].Deps[quic]
			t.Errorf("%s links QUIC: %s", name, chain(all, absolute(name), dep))
		}
	}
}

// The test kit and what only tests need is imported by tests, and examples by
// nobody.
func TestNobodyImportsTestsOrExamples(t *testing.T) {
	all, ours := graph(t)
	for _, name := range ours {
		p := all[absolute(name)]
		for _, dep := range p.Imports {
			rel := relative(dep)
			if rel == "internal/wstest" || rel == "internal/e2e" || strings.HasPrefix(dep, "github.com/stretchr/") {
				t.Errorf("%s imports %s outside its tests", name, rel)
			}
		}
		if strings.HasPrefix(name, "examples/") {
			continue
		}
		for _, dep := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if strings.HasPrefix(relative(dep), "examples/") {
				t.Errorf("%s imports %s, an example", name, relative(dep))
			}
		}
	}
}
