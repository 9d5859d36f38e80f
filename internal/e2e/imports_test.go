package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/wsmux/websocket"

// allowed says what each package of the library links besides the standard
// library: packages of this module by their path in it, "." for the root, and
// of other modules by prefix. Imports point one way:
//
//	frame  ◄─ websocket (root) ◄─ h1upgrade | h2connect | h3connect   (never each other)
//	                           ◄─ negotiate (h1upgrade and h2connect; HTTP/3 is handed to it)
//
// A package that is not listed fails the test, so that a new one is thought
// about.
var allowed = map[string][]string{
	"frame":              {},
	"internal/deflate":   {"github.com/klauspost/compress/"},
	".":                  {"frame", "internal/deflate", "github.com/klauspost/compress/"},
	"internal/handshake": {".", "golang.org/x/net/http/httpguts", "golang.org/x/net/idna", "golang.org/x/text/"},
	"internal/sockets":   {"."},
	"internal/registry":  {"."},
	"h1upgrade":          {".", "internal/handshake", "internal/sockets"},
	"h2connect":          {".", "internal/handshake", "internal/sockets", "golang.org/x/net/http2", "golang.org/x/net/internal/", "golang.org/x/sys/"},
	"h3connect":          {".", "internal/handshake", "internal/sockets", "internal/registry", "github.com/quic-go/", "golang.org/x/"},
	"negotiate":          {".", "h1upgrade", "h2connect", "internal/handshake", "internal/sockets", "internal/registry", "golang.org/x/net/"},
}

// pure are standard packages that the codec does not link: it does no I/O, and
// knows no clock, no goroutine and no system.
var pure = []string{"net", "context", "time", "os", "syscall", "crypto/rand", "math/rand", "math/rand/v2", "log", "fmt"}

// unlisted are packages that no user links: they and what lies under them have
// no entry.
var unlisted = []string{"internal/wstest", "internal/e2e", "internal/readme", "examples"}

func TestImportsPointOneWay(t *testing.T) {
	for _, pkg := range goList(t, "-f", "{{.ImportPath}}", "./...") {
		name := relative(pkg)
		if slices.ContainsFunc(unlisted, func(p string) bool { return strings.HasPrefix(name+"/", p+"/") }) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			direct, ok := allowed[name]
			require.True(t, ok, "a new package: say what it may link")
			may := closure(direct)
			for _, dep := range dependencies(t, pkg) {
				if dep == pkg {
					continue
				}
				rel := relative(dep)
				ok := slices.ContainsFunc(may, func(p string) bool {
					return rel == p || !strings.HasPrefix(dep, module) && strings.HasPrefix(dep, p)
				})
				assert.True(t, ok, "%s may not link %s", name, rel)
			}
		})
	}
}

// closure returns direct and, for each package of this module among it, what
// that one may link.
func closure(direct []string) []string {
	var all []string
	for _, p := range direct {
		all = append(all, p)
		all = append(all, closure(allowed[p])...)
	}
	return all
}

// The codec links the standard library only, and of that no package with a
// door to the outside.
func TestFrameIsPure(t *testing.T) {
	for _, dep := range goList(t, "-deps", "-f", "{{.ImportPath}}", module+"/frame") {
		assert.NotContains(t, pure, dep)
	}
}

// Programs that do not name h3connect do not link QUIC.
func TestOnlyHTTP3LinksQUIC(t *testing.T) {
	for name := range allowed {
		if name == "h3connect" {
			continue
		}
		for _, dep := range dependencies(t, strings.TrimSuffix(module+"/"+name, "/.")) {
			assert.False(t, strings.HasPrefix(dep, "github.com/quic-go/"), "%s links %s", name, dep)
		}
	}
}

// The library does not link its test kit, nor what only tests need.
func TestLibraryDoesNotLinkTests(t *testing.T) {
	for name := range allowed {
		for _, dep := range dependencies(t, strings.TrimSuffix(module+"/"+name, "/.")) {
			assert.NotEqual(t, module+"/internal/wstest", dep, name)
			assert.False(t, strings.HasPrefix(dep, "github.com/stretchr/"), name)
		}
	}
}

// dependencies returns what pkg links that is not in the standard library,
// itself included.
func dependencies(t testing.TB, pkg string) []string {
	return goList(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", pkg)
}

func relative(pkg string) string {
	if pkg == module {
		return "."
	}
	return strings.TrimPrefix(pkg, module+"/")
}

func goList(t testing.TB, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = "../.."
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return strings.Fields(string(out))
}
