package wstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"time"
)

// Certificates returns TLS configurations for both sides of a loopback
// connection: a server that shows a certificate for localhost, 127.0.0.1 and
// ::1, and a client that trusts it and nothing else. The keys are made once per
// process and never leave its memory. The caller may modify the configurations:
// they are its own.
func Certificates() (server, client *tls.Config) {
	leaf, roots := certificates()
	server = &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12}
	client = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return server, client
}

// bubbleTime is when the clock of a testing/synctest bubble begins. Certificates
// are valid by that clock and by the true one, whichever runs where they are made.
var bubbleTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

var certificates = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "wstest root"},
		NotBefore:             bubbleTime.AddDate(-1, 0, 0),
		NotAfter:              bubbleTime.AddDate(99, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	caKey := newKey()
	caDER := sign(ca, ca, caKey, caKey)

	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	leafKey := newKey()
	leafDER := sign(leaf, ca, leafKey, caKey)

	root, err := x509.ParseCertificate(caDER)
	if err != nil {
		panic(err) // we have just made it
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}, roots
})

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // rand.Reader never fails
	}
	return key
}

// sign returns the certificate of cert's key, signed by parent.
func sign(cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		panic(err) // the templates are constants of this file
	}
	return der
}
