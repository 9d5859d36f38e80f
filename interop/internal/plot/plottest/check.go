// Package plottest checks drawings made by package plot.
package plottest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/wsmux/websocket/interop/internal/plot"
)

// A node is an element with its attributes and its text.
type node struct {
	name       string
	attributes map[string]string
	text       string
}

// Check returns what is wrong with a drawing: it must be well-formed, be named
// and described for those who do not see it, load nothing, and no text may
// overlap another one or leave the drawing, by an estimate of its extent.
func Check(svg []byte) error {
	nodes, err := parse(svg)
	if err != nil {
		return err
	}
	if len(nodes) == 0 || nodes[0].name != "svg" {
		return errors.New("not an svg element")
	}
	return errors.Join(named(nodes), loadsNothing(nodes), textsApart(nodes))
}

func parse(svg []byte) ([]*node, error) {
	d := xml.NewDecoder(bytes.NewReader(svg))
	var nodes, open []*node
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nodes, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			n := &node{name: t.Name.Local, attributes: make(map[string]string)}
			for _, a := range t.Attr {
				n.attributes[a.Name.Local] = a.Value
			}
			nodes = append(nodes, n)
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(t)
			}
		}
	}
}

// named checks role, title and desc.
func named(nodes []*node) error {
	root := nodes[0]
	if root.attributes["role"] != "img" {
		return errors.New(`the role is not "img"`)
	}
	for attribute, element := range map[string]string{"aria-labelledby": "title", "aria-describedby": "desc"} {
		id := root.attributes[attribute]
		found := slices.ContainsFunc(nodes, func(n *node) bool {
			return n.name == element && n.attributes["id"] == id && strings.TrimSpace(n.text) != ""
		})
		if id == "" || !found {
			return fmt.Errorf("%s %q names no %s with a text", attribute, id, element)
		}
	}
	return nil
}

// loadsNothing checks that there is no script, no reference and no handler.
func loadsNothing(nodes []*node) error {
	for _, n := range nodes {
		if slices.Contains([]string{"script", "image", "use", "foreignObject", "a"}, n.name) {
			return fmt.Errorf("an element %s", n.name)
		}
		if strings.Contains(n.text, "url(") || strings.Contains(n.text, "@import") {
			return fmt.Errorf("%s refers to something", n.name)
		}
		for a := range n.attributes {
			if a == "href" || a == "src" || strings.HasPrefix(a, "on") {
				return fmt.Errorf("%s has the attribute %s", n.name, a)
			}
		}
	}
	return nil
}

// A box is what a text covers.
type box struct {
	text                     string
	left, top, right, bottom float64
}

// textsApart checks that no texts touch, and that all are inside.
func textsApart(nodes []*node) error {
	var width, height float64
	if _, err := fmt.Sscanf(nodes[0].attributes["viewBox"], "0 0 %f %f", &width, &height); err != nil {
		return fmt.Errorf("viewBox: %w", err)
	}
	var boxes []box
	for _, n := range nodes {
		if n.name != "text" {
			continue
		}
		b, err := extent(n)
		if err != nil {
			return err
		}
		if b.left < 0 || b.top < 0 || b.right > width || b.bottom > height {
			return fmt.Errorf("%q leaves the drawing: %+v of %v × %v", b.text, b, width, height)
		}
		for _, o := range boxes {
			if b.left < o.right && o.left < b.right && b.top < o.bottom && o.top < b.bottom {
				return fmt.Errorf("%q and %q overlap", o.text, b.text)
			}
		}
		boxes = append(boxes, b)
	}
	return nil
}

// extent estimates what a text element covers: from above a capital letter to
// below the line.
func extent(n *node) (box, error) {
	var at [3]float64
	for i, name := range []string{"x", "y", "font-size"} {
		v, err := strconv.ParseFloat(n.attributes[name], 64)
		if err != nil {
			return box{}, fmt.Errorf("%q: %s: %w", n.text, name, err)
		}
		at[i] = v
	}
	x, y, size := at[0], at[1], at[2]
	w := plot.TextWidth(n.text, size, n.attributes["font-weight"] != "")
	switch n.attributes["text-anchor"] {
	case "middle":
		x -= w / 2
	case "end":
		x -= w
	}
	return box{n.text, x, y - .8*size, x + w, y + .22*size}, nil
}
