// Package authority makes certificates for servers on loopback addresses, as
// files for programs that want files.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An Identity is a certificate for localhost and 127.0.0.1 of an authority of
// its own, good for a day.
type Identity struct {
	Certificate tls.Certificate
	authority   []byte // DER
}

// New makes an authority and an identity.
func New(t testing.TB) *Identity {
	now := time.Now()
	parent := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "WebSocket interop tests"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	parentKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	parentDER, err := x509.CreateCertificate(rand.Reader, parent, parent, &parentKey.PublicKey, parentKey)
	require.NoError(t, err)

	leaf := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano() + 1),
		Subject:               pkix.Name{CommonName: "127.0.0.1"},
		NotBefore:             parent.NotBefore,
		NotAfter:              parent.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, &key.PublicKey, parentKey)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &Identity{
		Certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed},
		authority:   parentDER,
	}
}

// ServerConfig returns the configuration of a server that shows the certificate.
func (i *Identity) ServerConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{i.Certificate}}
}

// ClientConfig returns the configuration of a client that trusts the authority
// and nothing else.
func (i *Identity) ClientConfig() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(encode("CERTIFICATE", i.authority))
	return &tls.Config{RootCAs: roots}
}

// SPKI returns the SHA-256 of the certificate's SubjectPublicKeyInfo in base64.
func (i *Identity) SPKI() string {
	hash := sha256.Sum256(i.Certificate.Leaf.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(hash[:])
}

// AuthorityFile writes the authority's certificate as PEM into a temporary
// directory of the test and returns the path.
func (i *Identity) AuthorityFile(t testing.TB) string {
	return write(t, "authority.pem", encode("CERTIFICATE", i.authority))
}

// CertificateFile writes the certificate likewise.
func (i *Identity) CertificateFile(t testing.TB) string {
	return write(t, "certificate.pem", encode("CERTIFICATE", i.Certificate.Certificate[0]))
}

// KeyFile writes the certificate's private key likewise, in the form of PKCS #8.
func (i *Identity) KeyFile(t testing.TB) string {
	return write(t, "key.pem", i.key(t))
}

// BundleFile writes the certificate and its key into one file.
func (i *Identity) BundleFile(t testing.TB) string {
	return write(t, "bundle.pem", append(encode("CERTIFICATE", i.Certificate.Certificate[0]), i.key(t)...))
}

func (i *Identity) key(t testing.TB) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(i.Certificate.PrivateKey)
	require.NoError(t, err)
	return encode("PRIVATE KEY", der)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(t testing.TB, name string, p []byte) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, p, 0o600))
	return path
}
