package plot

import (
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// linear returns the linear sRGB components of "#rrggbb".
func linear(t *testing.T, hex string) (c [3]float64) {
	t.Helper()
	require.Len(t, hex, 7)
	for i := range c {
		v, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		require.NoError(t, err)
		s := float64(v) / 255
		if s <= .04045 {
			c[i] = s / 12.92
		} else {
			c[i] = math.Pow((s+.055)/1.055, 2.4)
		}
	}
	return c
}

// contrast is the contrast ratio of WCAG 2.
func contrast(t *testing.T, a, b string) float64 {
	luminance := func(hex string) float64 {
		c := linear(t, hex)
		return .2126*c[0] + .7152*c[1] + .0722*c[2]
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + .05) / (min(x, y) + .05)
}

func TestContrasts(t *testing.T) {
	for name, s := range map[string]scheme{"light": light, "dark": dark} {
		assert.GreaterOrEqual(t, contrast(t, s.ink, s.ground), 4.5, name)
		assert.GreaterOrEqual(t, contrast(t, s.soft, s.ground), 4.5, name)
		for i, mark := range s.marks {
			assert.GreaterOrEqual(t, contrast(t, mark, s.ground), 3.0, "%s, mark %d on the ground", name, i)
			assert.GreaterOrEqual(t, contrast(t, s.onMarks[i], mark), 4.5, "%s, text on mark %d", name, i)
		}
	}
}

// visions are how linear sRGB is seen: by most, and with protanopia,
// deuteranopia and tritanopia, after Machado, Oliveira and Fernandes (2009).
var visions = map[string][3][3]float64{
	"normal":       {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
	"protanopia":   {{.152286, 1.052583, -.204868}, {.114503, .786281, .099216}, {-.003882, -.048116, 1.051998}},
	"deuteranopia": {{.367322, .860646, -.227968}, {.280085, .672501, .047413}, {-.011820, .042940, .968881}},
	"tritanopia":   {{1.255528, -.076749, -.178779}, {-.078411, .930809, .147602}, {.004733, .691367, .303900}},
}

// oklab returns a colour's coordinates in a space where distances are those that
// are seen; 0.02 is just noticeable.
func oklab(c [3]float64) [3]float64 {
	l := math.Cbrt(.4122214708*c[0] + .5363325363*c[1] + .0514459929*c[2])
	m := math.Cbrt(.2119034982*c[0] + .6806995451*c[1] + .1073969566*c[2])
	s := math.Cbrt(.0883024619*c[0] + .2817188376*c[1] + .6299787005*c[2])
	return [3]float64{
		.2104542553*l + .7936177850*m - .0040720468*s,
		1.9779984951*l - 2.4285922050*m + .4505937099*s,
		.0259040371*l + .7827717662*m - .8086757660*s,
	}
}

func TestMarksAreToldApartInEveryVision(t *testing.T) {
	const least = .10
	for name, s := range map[string]scheme{"light": light, "dark": dark} {
		for vision, matrix := range visions {
			seen := make([][3]float64, colors)
			for i, mark := range s.marks {
				c := linear(t, mark)
				var v [3]float64
				for j, row := range matrix {
					v[j] = min(1, max(0, row[0]*c[0]+row[1]*c[1]+row[2]*c[2]))
				}
				seen[i] = oklab(v)
			}
			for i := range seen {
				for j := range i {
					distance := math.Sqrt(math.Pow(seen[i][0]-seen[j][0], 2) + math.Pow(seen[i][1]-seen[j][1], 2) + math.Pow(seen[i][2]-seen[j][2], 2))
					assert.GreaterOrEqual(t, distance, least, "%s, %s: marks %d and %d", name, vision, j, i)
				}
			}
		}
	}
}
