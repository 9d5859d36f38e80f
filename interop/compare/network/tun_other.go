//go:build !linux

package network

import (
	"errors"
	"net"
	"os"
	"syscall"
)

var errLinux = errors.New("network namespaces are Linux's")

// Namespace returns nothing: there are no network namespaces.
func Namespace() *syscall.SysProcAttr { return nil }

// Attach, Pair, Pass and Receive return an error.
func Attach(net.IP) (*os.File, error)    { return nil, errLinux }
func Pair() (a, b *os.File, err error)   { return nil, nil, errLinux }
func Pass(_, _ *os.File) error           { return errLinux }
func Receive(*os.File) (*os.File, error) { return nil, errLinux }

// Congestion is of no use here.
const Congestion = "none"

// SetCongestion returns an error.
func SetCongestion(string, string, syscall.RawConn) error { return errLinux }
