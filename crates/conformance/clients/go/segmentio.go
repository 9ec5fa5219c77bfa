package main

// kafka-go: a connection for each reader, and a context for each generation of a group.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

type segmentio struct {
	bootstrap string
	client    *kafka.Client
}

func openSegmentio(bootstrap string) (Client, error) {
	return segmentio{bootstrap, &kafka.Client{Addr: kafka.TCP(bootstrap)}}, nil
}

func (s segmentio) Create(topic string, partitions int, configs map[string]string) error {
	wanted := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}
	for name, value := range configs {
		wanted.ConfigEntries = append(wanted.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	answer, err := s.client.CreateTopics(background, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{wanted}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (s segmentio) Describe(topic string) (int, error) {
	answer, err := s.client.Metadata(background, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	return len(answer.Topics[0].Partitions), answer.Topics[0].Error
}

func (s segmentio) Topics() ([]string, error) {
	names := []string{}
	answer, err := s.client.Metadata(background, &kafka.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	for _, topic := range answer.Topics {
		names = append(names, topic.Name)
	}
	return names, nil
}

func (s segmentio) Configs(topic string) (map[string]string, error) {
	asked := kafka.DescribeConfigRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}
	answer, err := s.client.DescribeConfigs(background, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{asked}})
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, entry := range answer.Resources[0].ConfigEntries {
		values[entry.ConfigName] = entry.ConfigValue
	}
	return values, answer.Resources[0].Error
}

func (s segmentio) Delete(topic string) error {
	answer, err := s.client.DeleteTopics(background, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (s segmentio) Since(topic string, timestamp int64) (int64, error) {
	asked := map[string][]kafka.OffsetRequest{topic: {kafka.TimeOffsetOf(0, time.UnixMilli(timestamp))}}
	answer, err := s.client.ListOffsets(background, &kafka.ListOffsetsRequest{Topics: asked})
	if err != nil {
		return -1, err
	}
	for offset := range answer.Topics[topic][0].Offsets {
		return offset, nil
	}
	return -1, answer.Topics[topic][0].Error
}

var segmentioCodecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

type segmentioProducer struct{ writer *kafka.Writer }

func (s segmentio) Producer(codec, acks string) (Producer, error) {
	required := kafka.RequireOne
	if acks == "all" {
		required = kafka.RequireAll
	}
	spread := &kafka.RoundRobin{}
	return segmentioProducer{&kafka.Writer{
		Addr: kafka.TCP(s.bootstrap), RequiredAcks: required, Compression: segmentioCodecs[codec], Async: true,
		BatchTimeout: 20 * time.Millisecond, MaxAttempts: 1000,
		Balancer: kafka.BalancerFunc(func(message kafka.Message, partitions ...int) int {
			if partition := message.WriterData.(sent).partition; partition != nil {
				return int(*partition)
			}
			return spread.Balance(message, partitions...)
		}),
		Completion: func(messages []kafka.Message, err error) {
			for _, message := range messages {
				message.WriterData.(sent).done(int32(message.Partition), message.Offset, err)
			}
		},
	}}, nil
}

// Cannot names the difference that readers do not keep.
func (s segmentio) Cannot(record Record) error {
	texts := []*string{record.Key, record.Value}
	for _, header := range record.Headers {
		texts = append(texts, header[1])
	}
	for _, text := range texts {
		if text != nil && *text == "" {
			return Unsupported("reads what is empty as null")
		}
	}
	return nil
}

// sent goes with a message through the writer.
type sent struct {
	partition *int32
	done      func(int32, int64, error)
}

func (p segmentioProducer) Send(topic string, record Record, done func(int32, int64, error)) {
	message := kafka.Message{
		Topic: topic, Key: bytesOf(record.Key), Value: bytesOf(record.Value), WriterData: sent{record.Partition, done},
	}
	if record.Timestamp != nil {
		message.Time = time.UnixMilli(*record.Timestamp)
	}
	for _, header := range record.Headers {
		message.Headers = append(message.Headers, kafka.Header{Key: *header[0], Value: bytesOf(header[1])})
	}
	// The writer tries again what it has taken, but takes nothing while it cannot count the partitions.
	for limit := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := p.writer.WriteMessages(background, message)
		if err == nil {
			return
		}
		if limit.Before(time.Now()) {
			done(0, -1, err)
			return
		}
	}
}

func (p segmentioProducer) Close() error {
	return p.writer.Close()
}

func fromSegmentio(message kafka.Message) Record {
	partition, timestamp := int32(message.Partition), message.Time.UnixMilli()
	taken := Record{&partition, message.Offset, &timestamp, textOf(message.Key), textOf(message.Value), [][2]*string{}}
	for _, header := range message.Headers {
		taken.Headers = append(taken.Headers, [2]*string{&header.Key, textOf(header.Value)})
	}
	return taken
}

func (s segmentio) open(topic string, partition int, offset int64) (*kafka.Reader, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{s.bootstrap}, Topic: topic, Partition: partition, MaxBytes: 10_000_000, MaxWait: 500 * time.Millisecond,
	})
	return reader, reader.SetOffset(offset)
}

type segmentioReader struct {
	stop  context.CancelFunc
	ended sync.WaitGroup
}

func (s segmentio) Reader(topic string, partitions, paused []int32, take func(Record)) (Reader, error) {
	if 0 < len(paused) {
		return nil, Unsupported("a reader cannot be paused")
	}
	reading, stop := context.WithCancel(background)
	started := &segmentioReader{stop: stop}
	for _, partition := range partitions {
		reader, err := s.open(topic, int(partition), kafka.FirstOffset)
		if err != nil {
			return nil, err
		}
		started.ended.Go(func() {
			defer reader.Close()
			for reading.Err() == nil {
				if message, err := reader.FetchMessage(reading); err == nil {
					take(fromSegmentio(message))
				}
			}
		})
	}
	return started, nil
}

func (r *segmentioReader) Resume(int32) error {
	return Unsupported("a reader cannot be paused")
}

func (r *segmentioReader) Close() error {
	r.stop()
	r.ended.Wait()
	return nil
}

type segmentioMember struct {
	ownership
	client segmentio
	group  *kafka.ConsumerGroup
	topic  string
	take   func(Record)
	ended  sync.WaitGroup
}

func (s segmentio) Member(group, topic, protocol string, take func(Record)) (Member, error) {
	if protocol != "classic" {
		return nil, Unsupported("knows the classic group protocol only")
	}
	joined, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: []string{s.bootstrap}, Topics: []string{topic},
		SessionTimeout: 10 * time.Second, HeartbeatInterval: 500 * time.Millisecond, JoinGroupBackoff: 500 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	member := &segmentioMember{client: s, group: joined, topic: topic, take: take}
	member.ended.Go(member.run)
	return member, nil
}

func (m *segmentioMember) run() {
	for {
		generation, err := m.group.Next(background)
		if errors.Is(err, kafka.ErrGroupClosed) {
			return
		}
		if err != nil {
			m.note(nil, err)
			continue
		}
		own := []string{}
		for _, assigned := range generation.Assignments[m.topic] {
			own = append(own, fmt.Sprintf("%s-%d", m.topic, assigned.ID))
			generation.Start(func(alive context.Context) { m.read(alive, generation, assigned) })
		}
		m.note(own, nil)
	}
}

// read hands over one partition until its generation ends.
func (m *segmentioMember) read(alive context.Context, generation *kafka.Generation, assigned kafka.PartitionAssignment) {
	reader, err := m.client.open(m.topic, assigned.ID, assigned.Offset)
	defer reader.Close()
	for committed, next := time.Now(), assigned.Offset; err == nil; {
		var message kafka.Message
		if message, err = reader.FetchMessage(alive); err == nil {
			m.take(fromSegmentio(message))
			next = message.Offset + 1
		}
		if 0 <= next && (err != nil || committed.Add(100*time.Millisecond).Before(time.Now())) {
			// What a rebalance or a restart of the broker prevents is read again.
			_ = generation.CommitOffsets(map[string]map[int]int64{m.topic: {assigned.ID: next}})
			committed = time.Now()
		}
	}
}

func (m *segmentioMember) Close() error {
	err := m.group.Close()
	m.ended.Wait()
	return err
}
