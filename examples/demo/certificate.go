package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"time"
)

// A certificate is a server certificate that nobody vouches for, and what is
// needed to trust it all the same. Its key is in memory and nowhere else.
type certificate struct {
	tls   tls.Certificate
	roots *x509.CertPool // holds this certificate alone
	spki  string         // base64 of the SHA-256 of the SubjectPublicKeyInfo, as Chromium wants it
}

// validity is how long a certificate is good for. Browsers demand less than two
// weeks of one that they are told to trust by its hash.
const validity = 7 * 24 * time.Hour

// newCertificate makes a key and a certificate for it that is good for
// localhost and the names below it, the loopback addresses, and host, which is a
// name or an address and may be empty.
func newCertificate(host string) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "WebSocket demo"},
		NotBefore:             now.Add(-time.Hour), // clocks differ
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost", "*.localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else if host != "" {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate just made: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	hash := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return &certificate{
		tls:   tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		roots: roots,
		spki:  base64.StdEncoding.EncodeToString(hash[:]),
	}, nil
}
