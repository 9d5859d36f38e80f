package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespace returns the attributes with which a process starts in a network
// namespace of its own, which ends with its last process and device. Who is not
// root needs the right to user namespaces for it.
func Namespace() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// device is the name of the TUN device in each namespace.
const device = "wire0"

// Attach makes a TUN device with an address in a network of 256 in the current
// network namespace, brings it and the loopback device up, and returns the device's
// other side: packets that are sent to the network are read from it.
func Attach(ip net.IP) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	f := os.NewFile(uintptr(fd), "/dev/net/tun")
	ifr, err := unix.NewIfreq(device)
	if err != nil {
		return nil, err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		f.Close()
		return nil, fmt.Errorf("a TUN device: %w", err)
	}
	if err := configure(ip); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// configure gives the device its address and brings it and loopback up.
func configure(ip net.IP) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	up := func(name string) error {
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr)
	}
	for _, set := range []struct {
		request uint
		ip      net.IP
	}{{unix.SIOCSIFADDR, ip}, {unix.SIOCSIFNETMASK, net.IPv4(255, 255, 255, 0)}} {
		ifr, err := unix.NewIfreq(device)
		if err != nil {
			return err
		}
		if err := ifr.SetInet4Addr(set.ip.To4()); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(s, set.request, ifr); err != nil {
			return fmt.Errorf("address of %s: %w", device, err)
		}
	}
	return errors.Join(up("lo"), up(device))
}

// Congestion is TCP's congestion control on links: it is what most kernels use, and
// quic-go.
const Congestion = "cubic"

// SetCongestion is the Control of a net.Dialer or net.ListenConfig whose connections
// are to have Congestion. It is an error where the kernel has not got it.
func SetCongestion(_, _ string, c syscall.RawConn) (err error) {
	failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, Congestion)
	})
	return errors.Join(failed, err)
}

// Pair returns two ends of a socket over which files can be passed.
func Pair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "pair"), os.NewFile(uintptr(fds[1]), "pair"), nil
}

// Pass passes a file over one end of a pair.
func Pass(over, f *os.File) error {
	return unix.Sendmsg(int(over.Fd()), []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0)
}

// Receive returns the file that was passed at the other end, in non-blocking mode.
func Receive(over *os.File) (*os.File, error) {
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(int(over.Fd()), buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("the other process has gone")
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("no file came"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errors.New("no file came"), err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "passed"), nil
}
