// Package lever is a client of Lever over gRPC: a choice within its deadline or the default, events in the background.
//
//	client, err := lever.New("localhost:50051", lever.Options{})
//	hero, err := client.Select(ctx, &pb.SelectRequest{Experiment: "page-hero", Subject: "visitor-42"}, fallback)
//	...                                                      // show hero.Arm, or what is in hero.PayloadJson
//	err = client.Reward(&pb.RewardRequest{DecisionId: hero.DecisionId})  // returns at once; sent in batches
//
// The messages are those of package lever/v1, generated from the contract.
package lever

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	pb "lever/v1"
)

const sendTime = 5 * time.Second

// As the other clients have it: a choice is asked again within its deadline where that can help.
const retries = `{
  "methodConfig": [{
    "name": [{"service": "lever.v1.PersonalizationService"}],
    "retryPolicy": {
      "maxAttempts": 3, "initialBackoff": "0.02s", "maxBackoff": "0.2s", "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
    }
  }],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
}`

// Options of a client; the zero value is good for a Lever on this machine.
type Options struct {
	Key         string                           // sent with every call
	Credentials credentials.TransportCredentials // nil: without TLS
	Timeout     time.Duration                    // of a choice, retries included; 0: 300 ms
}

// Client is a connection to Lever, safe for any number of goroutines; one a process is enough.
type Client struct {
	stub    pb.PersonalizationServiceClient
	link    *grpc.ClientConn
	options Options
	outbox  *outbox
}

// New makes a client. It connects with the first call; an error means that the address is none.
func New(address string, options Options) (*Client, error) {
	if options.Credentials == nil {
		options.Credentials = insecure.NewCredentials()
	}
	if options.Timeout == 0 {
		options.Timeout = 300 * time.Millisecond
	}
	again := backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}
	link, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(options.Credentials),
		grpc.WithDefaultServiceConfig(retries),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: 2 * time.Second}),
	)
	if err != nil {
		return nil, err
	}
	client := &Client{stub: pb.NewPersonalizationServiceClient(link), link: link, options: options}
	client.outbox = newOutbox(client.send)
	return client, nil
}

// Select chooses. Where there is no answer in time, or a field is wrong, it returns fallback, and the error says why:
// to be logged, while fallback is shown.
func (c *Client) Select(ctx context.Context, request *pb.SelectRequest, fallback *pb.SelectResponse) (*pb.SelectResponse, error) {
	ctx, cancel := context.WithTimeout(c.keyed(ctx), c.options.Timeout)
	defer cancel()
	made, err := c.stub.Select(ctx, request)
	if err != nil {
		return fallback, fmt.Errorf("default arm %s for %s: %w", fallback.GetArm(), request.GetExperiment(), err)
	}
	return made, nil
}

// Reward reports in the background what a decision earned. Two calls are two events, unless they have the same EventId.
// An error begins with the field that is wrong, or is ErrNoDecision or ErrClosed; then nothing is sent.
func (c *Client) Reward(reward *pb.RewardRequest) error {
	reward, err := checked(reward)
	if err != nil {
		return err
	}
	return c.outbox.put(event{reward: reward})
}

// Expose reports in the background that a deferred decision was shown; as Reward.
func (c *Client) Expose(exposure *pb.ExposeRequest) error {
	if err := decided(exposure.GetDecisionId(), exposure.GetDecision()); err != nil {
		return err
	}
	return c.outbox.put(event{exposure: exposure})
}

// Flush returns nil once everything reported so far is safe with the server; an error where that is not so when ctx
// ends, or where events were lost since the last flush.
func (c *Client) Flush(ctx context.Context) error { return c.outbox.flush(ctx) }

// Close flushes and hangs up; as Flush. What is left is dropped, counted and logged.
func (c *Client) Close(ctx context.Context) error {
	err := c.outbox.close(ctx)
	_ = c.link.Close()
	return err
}

// Dropped counts events that nobody took in time: too many waited, or they were left at the end.
func (c *Client) Dropped() int { return c.outbox.counts().dropped }

// Refused counts events that the server refused for good; the log says why.
func (c *Client) Refused() int { return c.outbox.counts().refused }

// Text, Number and Flag are values of a context.
func Text(value string) *pb.FeatureValue {
	return &pb.FeatureValue{Value: &pb.FeatureValue_Text{Text: value}}
}

// Number is a number of a context; see Text.
func Number(value float64) *pb.FeatureValue {
	return &pb.FeatureValue{Value: &pb.FeatureValue_Number{Number: value}}
}

// Flag is a flag of a context; see Text.
func Flag(value bool) *pb.FeatureValue {
	return &pb.FeatureValue{Value: &pb.FeatureValue_Flag{Flag: value}}
}

func (c *Client) keyed(ctx context.Context) context.Context {
	if c.options.Key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.options.Key)
}
