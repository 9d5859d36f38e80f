package frame_test

import (
	"errors"
	"fmt"

	"github.com/wsmux/websocket/frame"
)

// A client sends a message and closes; the server has it in two reads.
func Example() {
	s := frame.Sender{Side: frame.Client}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d} // from crypto/rand, a new one for every frame
	out, err := s.Append(nil, frame.Header{Fin: true, Opcode: frame.Text, Key: key}, []byte("Hello"))
	if err != nil {
		fmt.Println(err)
	}
	out, err = s.Append(out, frame.Header{Fin: true, Opcode: frame.Close, Key: key}, nil)
	if err != nil {
		fmt.Println(err)
	}

	r := frame.Receiver{Side: frame.Server, MaxMessage: 1 << 20}
	var in, message []byte
	for _, read := range [][]byte{out[:9], out[9:]} {
		in = append(in, read...)
		for len(in) > 0 {
			ev, n, err := r.Next(in)
			if err != nil { // a *frame.Error, whose Code goes into our Close frame
				fmt.Println(err)
				return
			}
			in = in[n:]
			if ev.Kind == frame.NeedMore {
				break
			}
			fmt.Printf("%v %q\n", ev.Opcode, ev.Payload)
			if ev.Kind == frame.Data {
				message = append(message, ev.Payload...)
			}
			if ev.Last {
				fmt.Printf("message %q\n", message)
			}
		}
	}
	// Output:
	// text "Hel"
	// text "lo"
	// message "Hello"
	// close ""
}

func ExampleReceiver_error() {
	r := frame.Receiver{Side: frame.Client}
	_, _, err := r.Next([]byte{0x83, 0x00})
	var broken *frame.Error
	if errors.As(err, &broken) {
		fmt.Println("close with", broken.Code, broken.Rule)
	}
	// Output: close with 1002 reserved opcode
}

func ExampleSender() {
	s := frame.Sender{Side: frame.Client}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d} // from crypto/rand, new for every frame
	out, err := s.Append(nil, frame.Header{Fin: true, Opcode: frame.Text, Key: key}, []byte("Hello"))
	fmt.Printf("% x %v\n", out, err)

	_, err = s.Append(nil, frame.Header{Fin: true, Key: key}, []byte("more"))
	fmt.Println(err)
	// Output:
	// 81 85 37 fa 21 3d 7f 9f 4d 51 58 <nil>
	// frame: refused to send: continuation frame outside a message
}

func ExampleParseHeader() {
	h, n, err := frame.ParseHeader([]byte{0x82, 0x7e, 0x01, 0x00, 'p', 'a', 'y'})
	fmt.Println(h.Opcode, h.Length, n, err)
	// Output: binary 256 4 <nil>
}

func ExampleAppendClose() {
	payload, err := frame.AppendClose(nil, frame.StatusGoingAway, "bye")
	fmt.Printf("% x %v\n", payload, err)
	code, reason, err := frame.ParseClose(payload)
	fmt.Println(code, reason, err)
	// Output:
	// 03 e9 62 79 65 <nil>
	// 1001 bye <nil>
}

func ExampleUTF8() {
	var u frame.UTF8
	fmt.Println(u.Check([]byte("caf\xC3")), u.Complete())
	fmt.Println(u.Check([]byte("\xA9!")), u.Complete())
	fmt.Println(u.Check([]byte("ok\xFFno")), u.Complete())
	// Output:
	// 4 false
	// 2 true
	// 2 false
}
