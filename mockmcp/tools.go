package mockmcp

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// allTools are the tools of this server, in the order of their names, which is how every transport lists them.
func allTools() []*tool {
	tools := []*tool{
		newTool("get_weather", "Tells the weather at a place. The weather is made up, and the same for the same place.", refineWeather, getWeather),
		newTool("list_files", "Lists the files in a folder of a small example tree, optionally only those whose name fits a pattern.", refineFiles, listFiles),
		newTool("get_user_profile", "Tells who is calling, as the gateway in front of this server says.", nil, getUserProfile),
		newTool("hello", "Greets somebody by name.", refineHello, hello),
		newTool("add_numbers", "Adds two numbers.", nil, addNumbers),
	}
	slices.SortFunc(tools, func(a, b *tool) int { return cmp.Compare(a.def.Name, b.def.Name) })
	return tools
}

// length limits an argument that is a string, in characters.
func length(s *jsonschema.Schema, arg string, shortest, longest int) {
	p := s.Properties[arg]
	p.MinLength, p.MaxLength = &shortest, &longest
}

type weatherArgs struct {
	Location string `json:"location" jsonschema:"a place, for example Lisbon"`
	Units    string `json:"units,omitempty" jsonschema:"metric (the default) or imperial"`
}

type weather struct {
	Location        string  `json:"location"`
	Units           string  `json:"units"`
	Condition       string  `json:"condition"`
	Temperature     float64 `json:"temperature"`
	TemperatureUnit string  `json:"temperature_unit"`
	Humidity        int     `json:"humidity_percent"`
	Wind            float64 `json:"wind"`
	WindUnit        string  `json:"wind_unit"`
}

func (w weather) text() string {
	return fmt.Sprintf("%s: %s, %.1f %s, humidity %d %%, wind %.1f %s. (Made-up weather of an example server.)",
		w.Location, w.Condition, w.Temperature, w.TemperatureUnit, w.Humidity, w.Wind, w.WindUnit)
}

func refineWeather(s *jsonschema.Schema) {
	length(s, "location", 1, 100)
	s.Properties["units"].Enum = []any{"metric", "imperial"}
	s.Properties["units"].Default = json.RawMessage(`"metric"`)
}

// getWeather derives everything from a hash of the place: no clock, no network, no surprises in tests.
func getWeather(_ http.Header, in weatherArgs) (weather, error) {
	place := strings.TrimSpace(in.Location)
	if place == "" {
		return weather{}, errors.New("location is blank: name a place, for example Lisbon")
	}
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(strings.ToLower(place))) // a hash never fails to write
	n := sum.Sum64()
	conditions := []string{"sunny", "cloudy", "light rain", "heavy rain", "windy", "fog", "snow showers", "thunderstorms"}
	w := weather{
		Location: place, Units: "metric",
		Condition:   conditions[n%8],
		Temperature: float64(n>>8%450)/10 - 10, TemperatureUnit: "°C", // -10.0 to 34.9
		Humidity: int(30 + n>>24%61),
		Wind:     float64(n>>40%600) / 10, WindUnit: "km/h",
	}
	if in.Units == "imperial" {
		w.Units, w.TemperatureUnit, w.WindUnit = in.Units, "°F", "mph"
		w.Temperature = oneDecimal(w.Temperature*9/5 + 32)
		w.Wind = oneDecimal(w.Wind / 1.609344)
	}
	return w, nil
}

func oneDecimal(v float64) float64 { return math.Round(v*10) / 10 }

type helloArgs struct {
	Name string `json:"name" jsonschema:"who to greet"`
}

type greeting struct {
	Greeting string `json:"greeting"`
}

func (g greeting) text() string { return g.Greeting }

func refineHello(s *jsonschema.Schema) { length(s, "name", 1, 100) }

func hello(_ http.Header, in helloArgs) (greeting, error) {
	name := strings.TrimSpace(in.Name)
	if name == "" {
		return greeting{}, errors.New("name is blank: say who to greet")
	}
	return greeting{"Hello, " + name + "!"}, nil
}

type addArgs struct {
	A float64 `json:"a" jsonschema:"the first number"`
	B float64 `json:"b" jsonschema:"the second number"`
}

type total struct {
	Sum float64 `json:"sum"`
}

func (t total) text() string {
	b, _ := json.Marshal(t.Sum) // addNumbers let only finite sums through
	return string(b)
}

func addNumbers(_ http.Header, in addArgs) (total, error) {
	sum := in.A + in.B
	if math.IsInf(sum, 0) {
		return total{}, errors.New("the sum is too large for a number")
	}
	return total{sum}, nil
}
