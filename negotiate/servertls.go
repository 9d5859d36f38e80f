package negotiate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/wsmux/websocket/internal/tlsrecord"
)

// LoadCertificate reads a certificate chain and its key from PEM files. From then
// on every TLS and QUIC handshake uses it in place of what TLSConfig has; those
// that are over are not affected. It may be called at any time from any goroutine,
// before the Server serves and as often as the files change. On an error the
// certificate in use stays.
//
// It has no effect on a handshake for which TLSConfig.GetConfigForClient returns a
// configuration of its own.
func (s *Server) LoadCertificate(certFile, keyFile string) error {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return fmt.Errorf("negotiate: %w", err)
	}
	s.certificate.Store(&cert)
	return nil
}

// BeneathTLS returns l for the ServeTLS of a plain http.Server; a [Server] does without.
// What is written at once to one of its connections, a large message for instance or a
// batch of HTTP/2's frames, leaves by one system call in up to 68 KiB, and not, as
// crypto/tls has it, by one for every 16 KiB. A connection of TCP is wrapped for that
// (see Server.ConnContext); one of another type stays as it is.
func BeneathTLS(l net.Listener) net.Listener { return tlsrecord.Listener{Listener: l} }

// tlsConfig returns TLSConfig with what the Server adds.
func (s *Server) tlsConfig(certFile, keyFile string) (*tls.Config, error) {
	config := new(tls.Config)
	if s.TLSConfig != nil {
		config = s.TLSConfig.Clone()
	}
	if certFile != "" || keyFile != "" {
		if err := s.LoadCertificate(certFile, keyFile); err != nil {
			return nil, err
		}
	}
	if s.certificate.Load() == nil && len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil {
		return nil, errors.New("negotiate: no certificate")
	}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	// crypto/tls does not ask GetCertificate if there are Certificates and the
	// client names no server, as when it dials an IP address.
	config.GetCertificate = s.chooser(config.GetCertificate, config.Certificates)
	config.Certificates = nil
	return config, nil
}

// chooser returns a GetCertificate that prefers the one that was loaded, and
// chooses as crypto/tls does among the others.
func (s *Server) chooser(get func(*tls.ClientHelloInfo) (*tls.Certificate, error), fixed []tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if cert := s.certificate.Load(); cert != nil {
			return cert, nil
		}
		if get != nil && (len(fixed) == 0 || hello.ServerName != "") {
			if cert, err := get(hello); cert != nil || err != nil {
				return cert, err
			}
		}
		for i := range fixed {
			if hello.SupportsCertificate(&fixed[i]) == nil {
				return &fixed[i], nil
			}
		}
		if len(fixed) == 0 {
			return nil, nil // crypto/tls says that there is none
		}
		return &fixed[0], nil
	}
}
