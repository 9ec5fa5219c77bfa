package main

// franz-go: every version and API of the protocol.

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct {
	bootstrap string
	admin     *kadm.Client
}

func openFranz(bootstrap string) (Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	return franz{bootstrap, kadm.NewClient(client)}, err
}

var background = context.Background()

func (f franz) Create(topic string, partitions int, configs map[string]string) error {
	values := map[string]*string{}
	for name, value := range configs {
		values[name] = &value
	}
	_, err := f.admin.CreateTopic(background, int32(partitions), 1, values, topic)
	return err
}

func (f franz) Describe(topic string) (int, error) {
	topics, err := f.admin.ListTopics(background, topic)
	return len(topics[topic].Partitions), err
}

func (f franz) Topics() ([]string, error) {
	topics, err := f.admin.ListTopics(background)
	return topics.Names(), err
}

func (f franz) Configs(topic string) (map[string]string, error) {
	found, err := f.admin.DescribeTopicConfigs(background, topic)
	values := map[string]string{}
	for _, resource := range found {
		for _, config := range resource.Configs {
			values[config.Key] = config.MaybeValue()
		}
	}
	return values, err
}

func (f franz) Delete(topic string) error {
	_, err := f.admin.DeleteTopic(background, topic)
	return err
}

func (f franz) Since(topic string, timestamp int64) (int64, error) {
	offsets, err := f.admin.ListOffsetsAfterMilli(background, timestamp, topic)
	found, _ := offsets.Lookup(topic, 0)
	if found.Timestamp < 0 {
		// Nothing is that new; what is told then is the end.
		return -1, err
	}
	return found.Offset, err
}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

type franzProducer struct{ client *kgo.Client }

func (f franz) Producer(codec, acks string) (Producer, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(f.bootstrap), kgo.ProducerBatchCompression(franzCodecs[codec]),
		kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil)}), kgo.ProducerLinger(20 * time.Millisecond),
	}
	if acks == "1" {
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	client, err := kgo.NewClient(options...)
	return franzProducer{client}, err
}

// partitioner takes the partition that a record names, if it names one.
type partitioner struct{ kgo.Partitioner }

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return topicPartitioner{p.Partitioner.ForTopic(topic)}
}

type topicPartitioner struct{ kgo.TopicPartitioner }

func (p topicPartitioner) Partition(record *kgo.Record, count int) int {
	if 0 <= record.Partition {
		return int(record.Partition)
	}
	return p.TopicPartitioner.Partition(record, count)
}

func (p topicPartitioner) RequiresConsistency(*kgo.Record) bool { return true }

func (p franzProducer) Send(topic string, record Record, done func(int32, int64, error)) {
	sent := &kgo.Record{Topic: topic, Partition: -1, Key: bytesOf(record.Key), Value: bytesOf(record.Value)}
	if record.Partition != nil {
		sent.Partition = *record.Partition
	}
	if record.Timestamp != nil {
		sent.Timestamp = time.UnixMilli(*record.Timestamp)
	}
	for _, header := range record.Headers {
		sent.Headers = append(sent.Headers, kgo.RecordHeader{Key: *header[0], Value: bytesOf(header[1])})
	}
	p.client.Produce(background, sent, func(record *kgo.Record, err error) { done(record.Partition, record.Offset, err) })
}

func (p franzProducer) Close() error {
	defer p.client.Close()
	return p.client.Flush(background)
}

// franzConsumer polls on a goroutine of its own until it is closed.
type franzConsumer struct {
	client *kgo.Client
	topic  string
	ended  sync.WaitGroup
	lock   sync.Mutex
	owned  map[int32]bool
	err    error
}

func (c *franzConsumer) run(take func(Record), commit bool) {
	for {
		fetches := c.client.PollFetches(background)
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachRecord(func(record *kgo.Record) { take(fromFranz(record)) })
		if commit && !fetches.Empty() {
			// What a rebalance or a restart of the broker prevents is read again.
			_ = c.client.CommitUncommittedOffsets(background)
		}
		c.client.AllowRebalance()
	}
}

func fromFranz(record *kgo.Record) Record {
	timestamp := record.Timestamp.UnixMilli()
	taken := Record{&record.Partition, record.Offset, &timestamp, textOf(record.Key), textOf(record.Value), [][2]*string{}}
	for _, header := range record.Headers {
		taken.Headers = append(taken.Headers, [2]*string{&header.Key, textOf(header.Value)})
	}
	return taken
}

func (f franz) Reader(topic string, partitions, paused []int32, take func(Record)) (Reader, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(f.bootstrap))
	if err != nil {
		return nil, err
	}
	client.PauseFetchPartitions(map[string][]int32{topic: paused})
	offsets := map[int32]kgo.Offset{}
	for _, partition := range partitions {
		offsets[partition] = kgo.NewOffset().AtStart()
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets})
	consumer := &franzConsumer{client: client, topic: topic}
	consumer.ended.Go(func() { consumer.run(take, false) })
	return consumer, nil
}

func (c *franzConsumer) Resume(partition int32) error {
	c.client.ResumeFetchPartitions(map[string][]int32{c.topic: {partition}})
	return nil
}

func (c *franzConsumer) Close() error {
	c.client.CloseAllowingRebalance()
	c.ended.Wait()
	return nil
}

func (c *franzConsumer) State() ([]string, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	assigned := []string{}
	for partition := range c.owned {
		assigned = append(assigned, fmt.Sprintf("%s-%d", c.topic, partition))
	}
	sort.Strings(assigned)
	return assigned, c.err
}

func (c *franzConsumer) note(owned bool) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		c.lock.Lock()
		defer c.lock.Unlock()
		for _, partition := range partitions[c.topic] {
			if owned {
				c.owned[partition] = true
			} else {
				delete(c.owned, partition)
			}
		}
	}
}

func (f franz) Member(group, topic, protocol string, take func(Record)) (Member, error) {
	ctx := background
	if protocol == "consumer" {
		// The library asks for this word until it takes the protocol by itself.
		ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)
	}
	consumer := &franzConsumer{topic: topic, owned: map[int32]bool{}}
	client, err := kgo.NewClient(
		kgo.WithContext(ctx), kgo.SeedBrokers(f.bootstrap), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.OnPartitionsAssigned(consumer.note(true)), kgo.OnPartitionsRevoked(consumer.note(false)), kgo.OnPartitionsLost(consumer.note(false)),
	)
	if err != nil {
		return nil, err
	}
	consumer.client = client
	consumer.ended.Go(func() { consumer.run(take, true) })
	return consumer, nil
}

func bytesOf(text *string) []byte {
	if text == nil {
		return nil
	}
	return []byte(*text)
}

func textOf(bytes []byte) *string {
	if bytes == nil {
		return nil
	}
	text := string(bytes)
	return &text
}
