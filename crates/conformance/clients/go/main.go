// Executes one command a line with a Kafka client for Go; see ../README.md.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const patience = time.Minute

// Record is one record, as it goes in and comes out.
type Record struct {
	Partition *int32       `json:"partition"`
	Offset    int64        `json:"offset"`
	Timestamp *int64       `json:"timestamp"`
	Key       *string      `json:"key"`
	Value     *string      `json:"value"`
	Headers   [][2]*string `json:"headers"`
}

// Command is one line of input.
type Command struct {
	Do         string            `json:"do"`
	Topic      string            `json:"topic"`
	Partitions json.RawMessage   `json:"partitions"`
	Configs    map[string]string `json:"configs"`
	Records    []Record          `json:"records"`
	Acks       string            `json:"acks"`
	Codec      string            `json:"codec"`
	Count      int               `json:"count"`
	Size       int               `json:"size"`
	Timestamp  int64             `json:"timestamp"`
	Load       string            `json:"load"`
	Member     string            `json:"member"`
	Group      string            `json:"group"`
	Protocol   string            `json:"protocol"`
}

// Client is one library.
type Client interface {
	Create(topic string, partitions int, configs map[string]string) error
	Describe(topic string) (int, error)
	Topics() ([]string, error)
	Configs(topic string) (map[string]string, error)
	Delete(topic string) error
	Producer(codec, acks string) (Producer, error)
	// Reader reads partitions from their beginning, without a group; the paused ones once they are resumed.
	Reader(topic string, partitions, paused []int32, take func(Record)) (Reader, error)
	// Since tells the first offset of partition 0 at or after a time, or -1.
	Since(topic string, timestamp int64) (int64, error)
	Member(group, topic, protocol string, take func(Record)) (Member, error)
}

// Choosy is a client that cannot bring back every record as it went.
type Choosy interface {
	Cannot(record Record) error
}

// Producer calls done for each record, in the order of the answers.
type Producer interface {
	Send(topic string, record Record, done func(partition int32, offset int64, err error))
	// Close waits for all answers.
	Close() error
}

// Reader is a consumer of chosen partitions.
type Reader interface {
	Resume(partition int32) error
	Close() error
}

// Member is a consumer in a group, which commits what it has handed over.
type Member interface {
	State() (assigned []string, err error)
	Close() error
}

// ownership is what a member tells of itself.
type ownership struct {
	lock sync.Mutex
	own  []string
	err  error
}

func (o *ownership) note(own []string, err error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.own, o.err = own, err
}

func (o *ownership) State() ([]string, error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	return slices.Sorted(slices.Values(o.own)), o.err
}

// Unsupported is what a library cannot do.
type Unsupported string

func (why Unsupported) Error() string { return string(why) }

var libraries = map[string]struct {
	module string
	open   func(bootstrap string) (Client, error)
}{
	"franz-go": {"github.com/twmb/franz-go", openFranz},
	"sarama":   {"github.com/IBM/sarama", openSarama},
	"kafka-go": {"github.com/segmentio/kafka-go", openSegmentio},
}

type load struct {
	stop         atomic.Bool
	ended        sync.WaitGroup
	acknowledged atomic.Int64
	lock         sync.Mutex
	failed       []string
}

func (l *load) run(topic string, producer Producer) {
	defer l.ended.Done()
	for number := 0; !l.stop.Load(); number++ {
		value := strconv.Itoa(number)
		producer.Send(topic, Record{Value: &value}, func(_ int32, _ int64, err error) {
			if err == nil {
				l.acknowledged.Add(1)
				return
			}
			l.lock.Lock()
			defer l.lock.Unlock()
			l.failed = append(l.failed, err.Error())
		})
		time.Sleep(time.Millisecond)
	}
	_ = producer.Close()
}

type seen struct {
	lock   sync.Mutex
	values []string
}

func (s *seen) take(record Record) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.values = append(s.values, *record.Value)
}

type driver struct {
	client  Client
	loads   map[string]*load
	members map[string]Member
	groups  map[string]*seen
}

func (d *driver) execute(c Command) (any, error) {
	switch c.Do {
	case "create":
		var partitions int
		if err := json.Unmarshal(c.Partitions, &partitions); err != nil {
			return nil, err
		}
		return nil, d.client.Create(c.Topic, partitions, c.Configs)
	case "describe":
		return d.client.Describe(c.Topic)
	case "topics":
		return d.client.Topics()
	case "configs":
		return d.client.Configs(c.Topic)
	case "delete":
		return nil, d.client.Delete(c.Topic)
	case "produce":
		return d.produce(c)
	case "generate":
		return d.generate(c)
	case "consume":
		return d.consume(c)
	case "count":
		return d.count(c)
	case "since":
		offset, err := d.client.Since(c.Topic, c.Timestamp)
		if offset < 0 {
			return nil, err
		}
		return offset, err
	case "pause":
		return d.pause(c)
	}
	return d.live(c)
}

// live executes what goes on after its answer.
func (d *driver) live(c Command) (any, error) {
	switch c.Do {
	case "load.start":
		producer, err := d.client.Producer("none", "all")
		if err != nil {
			return nil, err
		}
		started := &load{}
		started.ended.Add(1)
		d.loads[c.Load] = started
		go started.run(c.Topic, producer)
		return nil, nil
	case "load.stop":
		ended := d.loads[c.Load]
		ended.stop.Store(true)
		ended.ended.Wait()
		failed := append([]string{}, ended.failed...)
		return map[string]any{"acknowledged": ended.acknowledged.Load(), "failed": failed}, nil
	case "member.start":
		if d.groups[c.Group] == nil {
			d.groups[c.Group] = &seen{}
		}
		member, err := d.client.Member(c.Group, c.Topic, c.Protocol, d.groups[c.Group].take)
		if err == nil {
			d.members[c.Member] = member
		}
		return nil, err
	case "member.state":
		assigned, err := d.members[c.Member].State()
		state := map[string]any{"assigned": append([]string{}, assigned...), "error": nil}
		if err != nil {
			state["error"] = err.Error()
		}
		return state, nil
	case "member.stop":
		return nil, d.members[c.Member].Close()
	case "group.seen":
		group := d.groups[c.Group]
		group.lock.Lock()
		defer group.lock.Unlock()
		different := map[string]bool{}
		for _, value := range group.values {
			different[value] = true
		}
		return map[string]int{"records": len(different), "deliveries": len(group.values)}, nil
	}
	return nil, fmt.Errorf("no command is called %s", c.Do)
}

func (d *driver) produce(c Command) (any, error) {
	if c.Acks == "" {
		c.Acks = "all"
	}
	if choosy, is := d.client.(Choosy); is {
		for _, record := range c.Records {
			if err := choosy.Cannot(record); err != nil {
				return nil, err
			}
		}
	}
	producer, err := d.client.Producer("none", c.Acks)
	if err != nil {
		return nil, err
	}
	places := make([][2]int64, len(c.Records))
	var lock sync.Mutex
	var failed error
	for at, record := range c.Records {
		producer.Send(c.Topic, record, func(partition int32, offset int64, err error) {
			lock.Lock()
			defer lock.Unlock()
			failed = errors.Join(failed, err)
			places[at] = [2]int64{int64(partition), offset}
		})
	}
	return places, errors.Join(producer.Close(), failed)
}

func (d *driver) generate(c Command) (any, error) {
	producer, err := d.client.Producer(c.Codec, "all")
	if err != nil {
		return nil, err
	}
	var acknowledged atomic.Int64
	var lock sync.Mutex
	var failed error
	for number := range c.Count {
		value := strconv.Itoa(number)
		value += strings.Repeat(".", max(0, c.Size-len(value)))
		producer.Send(c.Topic, Record{Value: &value}, func(_ int32, _ int64, err error) {
			if err == nil {
				acknowledged.Add(1)
				return
			}
			lock.Lock()
			defer lock.Unlock()
			failed = err
		})
	}
	err = errors.Join(producer.Close(), failed)
	return acknowledged.Load(), err
}

func (d *driver) read(c Command) ([]Record, error) {
	var partitions []int32
	if err := json.Unmarshal(c.Partitions, &partitions); err != nil {
		return nil, err
	}
	records := make(chan Record, 100_000)
	reader, err := d.client.Reader(c.Topic, partitions, nil, func(record Record) { records <- record })
	if err != nil {
		return nil, err
	}
	taken, err := take(records, c.Count), reader.Close()
	slices.SortFunc(taken, func(one, other Record) int { return int(one.Offset - other.Offset) })
	return taken, err
}

func take(records <-chan Record, count int) []Record {
	taken, limit := []Record{}, time.After(patience)
	for len(taken) < count {
		select {
		case record := <-records:
			taken = append(taken, record)
		case <-limit:
			return taken
		}
	}
	return taken
}

func (d *driver) consume(c Command) (any, error) {
	return d.read(c)
}

func (d *driver) count(c Command) (any, error) {
	records, err := d.read(c)
	bytes, sum := 0, 0
	for _, record := range records {
		bytes += len(*record.Value)
		number, notANumber := strconv.Atoi(strings.TrimRight(*record.Value, "."))
		sum += number
		err = errors.Join(err, notANumber)
	}
	return map[string]int{"count": len(records), "bytes": bytes, "sum": sum}, err
}

func (d *driver) pause(c Command) (any, error) {
	records := make(chan Record, 100_000)
	reader, err := d.client.Reader(c.Topic, []int32{0, 1}, []int32{1}, func(record Record) { records <- record })
	if err != nil {
		return nil, err
	}
	paused := partitionsOf(take(records, c.Count))
	err = reader.Resume(1)
	resumed := partitionsOf(take(records, c.Count))
	return [][]int32{paused, resumed}, errors.Join(err, reader.Close())
}

func partitionsOf(records []Record) []int32 {
	partitions := []int32{}
	for _, record := range records {
		partitions = append(partitions, *record.Partition)
	}
	slices.Sort(partitions)
	return slices.Compact(partitions)
}

func versionOf(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return strings.TrimPrefix(dependency.Version, "v")
		}
	}
	return "unknown"
}

func main() {
	library := libraries[os.Args[1]]
	client, err := library.open(os.Args[2])
	if err != nil {
		panic(err)
	}
	d := &driver{client, map[string]*load{}, map[string]Member{}, map[string]*seen{}}
	answers, lines := json.NewEncoder(os.Stdout), bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var command Command
		var answer any
		if err = json.Unmarshal(line, &command); err == nil {
			if command.Do == "version" {
				answer = versionOf(library.module)
			} else {
				answer, err = d.execute(command)
			}
		}
		if err == nil {
			_ = answers.Encode(map[string]any{"ok": answer})
			continue
		}
		name := "Error"
		if unsupported := Unsupported(""); errors.As(err, &unsupported) {
			name = "Unsupported"
		}
		_ = answers.Encode(map[string]string{"error": name, "message": err.Error()})
	}
}
