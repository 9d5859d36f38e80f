package autobahn

import (
	"fmt"
	"strings"
)

// categories are the suite's names for the first numbers of an ID.
var categories = map[int]string{
	1:  "Framing",
	2:  "Pings/Pongs",
	3:  "Reserved Bits",
	4:  "Opcodes",
	5:  "Fragmentation",
	6:  "UTF-8 Handling",
	7:  "Close Handling",
	9:  "Limits/Performance",
	10: "Misc",
	12: "WebSocket Compression (different payloads)",
	13: "WebSocket Compression (different parameters)",
	20: "Not in the suite",
}

// groups are the suite's names for the first two numbers, where it has some.
// Those of 6.5 and up, 12 and 13 come from their tables.
var groups = map[string]string{
	"1.1":  "Text Messages",
	"1.2":  "Binary Messages",
	"4.1":  "Non-control Opcodes",
	"4.2":  "Control Opcodes",
	"6.1":  "Valid UTF-8 with zero payload fragments",
	"6.2":  "Valid UTF-8 unfragmented, fragmented on code-points and within code-points",
	"6.3":  "Invalid UTF-8 differently fragmented",
	"6.4":  "Fail-fast on invalid UTF-8",
	"7.1":  "Basic close behavior (fuzzer initiated)",
	"7.3":  "Close frame structure: payload length (fuzzer initiated)",
	"7.5":  "Close frame structure: payload value (fuzzer initiated)",
	"7.7":  "Close frame structure: valid close codes (fuzzer initiated)",
	"7.9":  "Close frame structure: invalid close codes (fuzzer initiated)",
	"7.13": "Informational close information (fuzzer initiated)",
	"9.1":  "Text Message (increasing size)",
	"9.2":  "Binary Message (increasing size)",
	"9.3":  "Fragmented Text Message (fixed size, increasing fragment size)",
	"9.4":  "Fragmented Binary Message (fixed size, increasing fragment size)",
	"9.5":  "Text Message (fixed size, increasing chop size)",
	"9.6":  "Binary Text Message (fixed size, increasing chop size)",
	"9.7":  "Text Message Roundtrip Time (fixed number, increasing size)",
	"9.8":  "Binary Message Roundtrip Time (fixed number, increasing size)",
	"10.1": "Auto-Fragmentation",
	"20.1": "Masking the wrong way round",
	"20.2": "Lengths not in the shortest form",
	"20.3": "Status codes registered later, and 1015",
	"20.4": "Broken and unusual compressed messages",
}

// GroupName returns the name of the group that a case belongs to: "1.1 Text
// Messages", or that of its category if the category has no groups.
func GroupName(id string) string {
	numbers := strings.SplitN(id, ".", 3)
	key := strings.Join(numbers[:min(2, len(numbers))], ".")
	category := Category(id)
	name, ok := groups[key]
	switch {
	case ok:
	case category == 6:
		name, ok = utf8GroupName(key)
	case category == 12, category == 13:
		name, ok = compressionGroupName(key)
	}
	if !ok {
		return fmt.Sprint(category, " ", categories[category])
	}
	return key + " " + name
}

// CategoryName returns the suite's name for a category.
func CategoryName(category int) string { return categories[category] }
