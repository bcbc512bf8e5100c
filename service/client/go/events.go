package lever

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "lever/v1"
)

const (
	nameBytes  = 128
	tokenBytes = 1024
)

// ErrNoDecision says that there is nothing to report: the default was shown, which is no decision of Lever's.
var ErrNoDecision = errors.New("decision_id: is empty, so there is nothing to send")

// An event is one of two.
type event struct {
	reward   *pb.RewardRequest
	exposure *pb.ExposeRequest
}

// A verdict of the server on an event: nil where it was taken, errAgain, or why it never will be taken.
type verdict = error

var errAgain = errors.New("not now")

// checked is a copy with an event id.
func checked(reward *pb.RewardRequest) (*pb.RewardRequest, error) {
	if err := decided(reward.GetDecisionId(), reward.GetDecision()); err != nil {
		return nil, err
	}
	if reward.Value != nil && (math.IsNaN(*reward.Value) || math.IsInf(*reward.Value, 0)) {
		return nil, fmt.Errorf("value: %v is not finite", *reward.Value)
	}
	if err := errors.Join(text("metric", reward.Metric, nameBytes), text("event_id", reward.EventId, nameBytes)); err != nil {
		return nil, err
	}
	reward = proto.CloneOf(reward)
	if reward.EventId == "" {
		reward.EventId = rand.Text()
	}
	return reward, nil
}

func decided(id string, raw []byte) error {
	if id == "" && len(raw) == 0 {
		return ErrNoDecision
	}
	if len(raw) > tokenBytes {
		return fmt.Errorf("decision: is longer than %d bytes", tokenBytes)
	}
	return text("decision_id", id, tokenBytes)
}

func text(field, value string, most int) error {
	if !utf8.ValidString(value) {
		return fmt.Errorf("%s: %q is no UTF-8", field, value)
	}
	if len(value) > most {
		return fmt.Errorf("%s: is longer than %d bytes", field, most)
	}
	return nil
}

// send takes a batch to the server; exposures first: a reward makes its decision a trial too.
func (c *Client) send(batch []event) []verdict {
	var rewards []*pb.RewardRequest
	var exposures []*pb.ExposeRequest
	for _, one := range batch {
		if one.reward != nil {
			rewards = append(rewards, one.reward)
		} else {
			exposures = append(exposures, one.exposure)
		}
	}
	shown := verdicts(len(exposures), func() ([]*pb.RewardResult, error) {
		ctx, cancel := context.WithTimeout(c.keyed(context.Background()), sendTime)
		defer cancel()
		answer, err := c.stub.ExposeBatch(ctx, &pb.ExposeBatchRequest{Exposures: exposures})
		return answer.GetResults(), err
	})
	counted := verdicts(len(rewards), func() ([]*pb.RewardResult, error) {
		ctx, cancel := context.WithTimeout(c.keyed(context.Background()), sendTime)
		defer cancel()
		stream, err := c.stub.StreamRewards(ctx)
		if err != nil {
			return nil, err
		}
		_ = stream.Send(&pb.StreamRewardsRequest{Sequence: 1, Rewards: rewards}) // Recv has the reason where it fails
		_ = stream.CloseSend()
		answer, err := stream.Recv()
		return answer.GetResults(), err
	})
	all := make([]verdict, 0, len(batch))
	for _, one := range batch {
		from := &shown
		if one.reward != nil {
			from = &counted
		}
		all, *from = append(all, (*from)[0]), (*from)[1:]
	}
	return all
}

func verdicts(count int, call func() ([]*pb.RewardResult, error)) []verdict {
	all := make([]verdict, count)
	if count == 0 {
		return all
	}
	results, err := call()
	if err == nil && len(results) != count {
		err = fmt.Errorf("%d results for %d events", len(results), count)
	}
	for i := range all {
		if err != nil {
			all[i] = judged(status.Code(err), err.Error())
		} else {
			all[i] = judged(codes.Code(results[i].Code), results[i].Message)
		}
	}
	return all
}

// judged tells by the code alone, as the contract has it; the last two are no answer at all.
func judged(code codes.Code, message string) verdict {
	switch code {
	case codes.OK:
		return nil
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Canceled:
		return errAgain
	default:
		return fmt.Errorf("%s: %s", code, message)
	}
}
