// The Go client, driven by lines of JSON: see tests/rig/clients/driven.py.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"lever"
	pb "lever/v1"
)

type asked struct {
	Do, Subject, Decision, Metric, Odd string
	Value                              *string
	Event                              string
	Retract                            bool
	Seconds                            float64
}

type answer map[string]any

func main() {
	client, err := lever.New(os.Args[1], lever.Options{})
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		ask := asked{Metric: "click"}
		if err := json.Unmarshal(lines.Bytes(), &ask); err != nil {
			panic(err)
		}
		line, err := json.Marshal(drive(client, os.Args[2], ask))
		if err != nil {
			panic(err)
		}
		fmt.Println(string(line))
	}
}

func drive(client *lever.Client, experiment string, ask asked) answer {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(ask.Seconds*float64(time.Second)))
	defer cancel()
	switch ask.Do {
	case "choose":
		request := &pb.SelectRequest{Experiment: experiment, Subject: ask.Subject, Deferred: true}
		made, err := client.Select(context.Background(), request, &pb.SelectResponse{Arm: "calm"})
		if err == nil {
			err = client.Expose(&pb.ExposeRequest{DecisionId: made.DecisionId})
		}
		return answer{"decision": made.DecisionId, "error": fmt.Sprint(err)}
	case "track":
		if err := client.Reward(reward(ask)); err != nil {
			return answer{"refused": err.Error()}
		}
		return answer{"queued": true}
	case "event":
		made := &pb.RewardRequest{DecisionId: ask.Decision, Metric: "click", EventId: ask.Event, Retract: ask.Retract}
		return answer{"queued": client.Reward(made) == nil}
	case "flush":
		return answer{"done": client.Flush(ctx) == nil}
	case "close":
		return answer{"done": client.Close(ctx) == nil}
	case "lost":
		return answer{"dropped": client.Dropped(), "refused": client.Refused()}
	}
	panic(ask.Do)
}

func reward(ask asked) *pb.RewardRequest {
	made := &pb.RewardRequest{DecisionId: ask.Decision, Metric: ask.Metric}
	given := ask.Value
	switch field, name, _ := strings.Cut(ask.Odd, ":"); {
	case field == "value":
		given = &name
	case name == "long":
		made.Metric = strings.Repeat("x", 129)
	case name == "half":
		made.Metric = "\xed\xa0\x80"
	}
	if given != nil {
		value, _ := strconv.ParseFloat(*given, 64) // infinite where it is too large
		made.Value = &value
	}
	return made
}
