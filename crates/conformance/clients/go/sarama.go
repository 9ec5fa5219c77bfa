package main

// sarama: a consumer of each partition, and a session for each generation of a group.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct {
	bootstrap []string
	admin     sarama.ClusterAdmin
	client    sarama.Client
}

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Metadata.Retry.Max = 100
	config.Producer.Retry.Max = 1000
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = func(topic string) sarama.Partitioner {
		return saramaPartitioner{sarama.NewRandomPartitioner(topic)}
	}
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return config
}

func openSarama(bootstrap string) (Client, error) {
	sarama.Logger = log.New(io.Discard, "", 0)
	brokers := []string{bootstrap}
	client, err := sarama.NewClient(brokers, saramaConfig())
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	return saramaClient{brokers, admin, client}, err
}

func (s saramaClient) Create(topic string, partitions int, configs map[string]string) error {
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
	for name, value := range configs {
		detail.ConfigEntries[name] = &value
	}
	return s.admin.CreateTopic(topic, detail, false)
}

func (s saramaClient) Describe(topic string) (int, error) {
	topics, err := s.admin.DescribeTopics([]string{topic})
	if err != nil {
		return 0, err
	}
	return len(topics[0].Partitions), nil
}

func (s saramaClient) Topics() ([]string, error) {
	topics, err := s.admin.ListTopics()
	names := []string{}
	for name := range topics {
		names = append(names, name)
	}
	return names, err
}

func (s saramaClient) Configs(topic string) (map[string]string, error) {
	entries, err := s.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	values := map[string]string{}
	for _, entry := range entries {
		values[entry.Name] = entry.Value
	}
	return values, err
}

func (s saramaClient) Delete(topic string) error {
	return s.admin.DeleteTopic(topic)
}

func (s saramaClient) Since(topic string, timestamp int64) (int64, error) {
	return s.client.GetOffset(topic, 0, timestamp)
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

// saramaPartitioner takes the partition that a record names, if it names one.
type saramaPartitioner struct{ sarama.Partitioner }

func (p saramaPartitioner) Partition(message *sarama.ProducerMessage, count int32) (int32, error) {
	if 0 <= message.Partition {
		return message.Partition, nil
	}
	return p.Partitioner.Partition(message, count)
}

type saramaProducer struct {
	producer sarama.AsyncProducer
	answers  sync.WaitGroup
	waiting  sync.WaitGroup
}

func (s saramaClient) Producer(codec, acks string) (Producer, error) {
	config := saramaConfig()
	config.Producer.Compression = saramaCodecs[codec]
	config.Producer.RequiredAcks = sarama.WaitForLocal
	if acks == "all" {
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	producer, err := sarama.NewAsyncProducer(s.bootstrap, config)
	if err != nil {
		return nil, err
	}
	started := &saramaProducer{producer: producer}
	started.answers.Go(func() {
		for message := range producer.Successes() {
			started.answered(message, nil)
		}
	})
	started.answers.Go(func() {
		for failed := range producer.Errors() {
			started.answered(failed.Msg, failed.Err)
		}
	})
	return started, nil
}

func (p *saramaProducer) answered(message *sarama.ProducerMessage, err error) {
	message.Metadata.(func(int32, int64, error))(message.Partition, message.Offset, err)
	p.waiting.Done()
}

func (p *saramaProducer) Send(topic string, record Record, done func(int32, int64, error)) {
	sent := &sarama.ProducerMessage{Topic: topic, Partition: -1, Metadata: done}
	if record.Key != nil {
		sent.Key = sarama.StringEncoder(*record.Key)
	}
	if record.Value != nil {
		sent.Value = sarama.StringEncoder(*record.Value)
	}
	if record.Partition != nil {
		sent.Partition = *record.Partition
	}
	if record.Timestamp != nil {
		sent.Timestamp = time.UnixMilli(*record.Timestamp)
	}
	for _, header := range record.Headers {
		sent.Headers = append(sent.Headers, sarama.RecordHeader{Key: []byte(*header[0]), Value: bytesOf(header[1])})
	}
	p.waiting.Add(1)
	p.producer.Input() <- sent
}

func (p *saramaProducer) Close() error {
	// A producer that is closing tries nothing again.
	p.waiting.Wait()
	p.producer.AsyncClose()
	p.answers.Wait()
	return nil
}

func fromSarama(message *sarama.ConsumerMessage) Record {
	timestamp := message.Timestamp.UnixMilli()
	taken := Record{&message.Partition, message.Offset, &timestamp, textOf(message.Key), textOf(message.Value), [][2]*string{}}
	for _, header := range message.Headers {
		taken.Headers = append(taken.Headers, [2]*string{textOf(header.Key), textOf(header.Value)})
	}
	return taken
}

type saramaReader struct {
	consumer   sarama.Consumer
	partitions map[int32]sarama.PartitionConsumer
	ended      sync.WaitGroup
}

func (s saramaClient) Reader(topic string, partitions, paused []int32, take func(Record)) (Reader, error) {
	consumer, err := sarama.NewConsumer(s.bootstrap, saramaConfig())
	if err != nil {
		return nil, err
	}
	reader := &saramaReader{consumer: consumer, partitions: map[int32]sarama.PartitionConsumer{}}
	for _, partition := range partitions {
		one, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		if err != nil {
			return nil, errors.Join(err, reader.Close())
		}
		reader.partitions[partition] = one
	}
	for _, partition := range paused {
		reader.partitions[partition].Pause()
	}
	for _, one := range reader.partitions {
		reader.ended.Go(func() {
			for message := range one.Messages() {
				take(fromSarama(message))
			}
		})
	}
	return reader, nil
}

func (r *saramaReader) Resume(partition int32) error {
	r.partitions[partition].Resume()
	return nil
}

func (r *saramaReader) Close() error {
	for _, one := range r.partitions {
		one.AsyncClose()
	}
	r.ended.Wait()
	return r.consumer.Close()
}

// saramaMember is told by the library when a generation begins and ends.
type saramaMember struct {
	ownership
	group sarama.ConsumerGroup
	topic string
	take  func(Record)
	leave context.CancelFunc
	ended sync.WaitGroup
}

func (s saramaClient) Member(group, topic, protocol string, take func(Record)) (Member, error) {
	if protocol != "classic" {
		return nil, Unsupported("knows the classic group protocol only")
	}
	joined, err := sarama.NewConsumerGroup(s.bootstrap, group, saramaConfig())
	if err != nil {
		return nil, err
	}
	member := &saramaMember{group: joined, topic: topic, take: take}
	staying, leave := context.WithCancel(background)
	member.leave = leave
	member.ended.Go(func() {
		for staying.Err() == nil {
			err := joined.Consume(staying, []string{topic}, member)
			if err != nil && staying.Err() == nil {
				member.note(nil, err)
				time.Sleep(200 * time.Millisecond)
			}
		}
	})
	return member, nil
}

func (m *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	own := []string{}
	for _, partition := range session.Claims()[m.topic] {
		own = append(own, fmt.Sprintf("%s-%d", m.topic, partition))
	}
	m.note(own, nil)
	return nil
}

func (m *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.take(fromSarama(message))
		session.MarkMessage(message, "")
		if len(claim.Messages()) == 0 {
			session.Commit()
		}
	}
	return nil
}

func (m *saramaMember) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	m.note(nil, nil)
	return nil
}

func (m *saramaMember) Close() error {
	m.leave()
	m.ended.Wait()
	return m.group.Close()
}
