// A stand-in for the `baton` command where its module cannot be had: the same
// libraries (zstd, SQLite driver, protobuf), the same commands and shapes of
// answers, messages decoded by the descriptors in $DESCRIPTORS. It shows that a
// file is readable from Go as `baton` reads it, not that `baton` reads it.
package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"

	_ "github.com/glebarez/go-sqlite"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

type object = map[string]any

type reader struct {
	db    *sql.DB
	files *protoregistry.Files
	sync  string
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// decode unpacks the file within the limits of the released reader.
func decode(path, out string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	magic := make([]byte, 5)
	if _, err := io.ReadFull(file, magic); err != nil {
		return err
	}
	if !bytes.Equal(magic, []byte("C1ZF\x00")) {
		return fmt.Errorf("c1z: invalid file")
	}
	const window, decoded = 128 << 20, 3 << 30
	decoder, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(window))
	if err != nil {
		return err
	}
	defer decoder.Close()
	database, err := os.OpenFile(out, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer database.Close()
	length, err := io.Copy(database, io.LimitReader(decoder, decoded+1))
	if err == nil && length > decoded {
		err = fmt.Errorf("max decoded size exceeded")
	}
	return err
}

func (r *reader) message(name string, data []byte) object {
	descriptor, err := r.files.FindDescriptorByName(protoreflect.FullName("c1.connector.v2." + name))
	check(err)
	message := dynamicpb.NewMessage(descriptor.(protoreflect.MessageDescriptor))
	check(proto.UnmarshalOptions{Resolver: dynamicpb.NewTypes(r.files)}.Unmarshal(data, message))
	text, err := protojson.MarshalOptions{Resolver: dynamicpb.NewTypes(r.files)}.Marshal(message)
	check(err)
	var value object
	check(json.Unmarshal(text, &value))
	return value
}

func (r *reader) list(table, name, sync string) []object {
	rows, err := r.db.Query("select data, discovered_at from "+table+" where sync_id = ? order by id", sync)
	check(err)
	defer rows.Close()
	list := []object{}
	for rows.Next() {
		var data []byte
		var discovered time.Time
		check(rows.Scan(&data, &discovered))
		list = append(list, r.message(name, data))
	}
	check(rows.Err())
	return list
}

func (r *reader) get(table, name, id string) object {
	var data []byte
	err := r.db.QueryRow("select data from "+table+" where external_id = ? and sync_id = ?", id, r.sync).Scan(&data)
	if err == sql.ErrNoRows {
		return object{"displayName": "MISSING " + name + " (" + id + ")"}
	}
	check(err)
	return r.message(name, data)
}

func id(resource any) (string, string) {
	id := resource.(object)["id"].(object)
	return id["resourceType"].(string), id["resource"].(string)
}

func (r *reader) resource(stub any) object {
	kind, name := id(stub)
	found := r.get("v1_resources", "Resource", kind+":"+name)
	if found["id"] == nil {
		found["id"] = stub.(object)["id"]
	}
	return found
}

func (r *reader) kind(stub any) object {
	kind, _ := id(stub)
	return r.get("v1_resource_types", "ResourceType", kind)
}

func (r *reader) syncs() []object {
	rows, err := r.db.Query("select sync_id, started_at, ended_at, sync_token, sync_type, parent_sync_id from v1_sync_runs order by id")
	check(err)
	defer rows.Close()
	list := []object{}
	for rows.Next() {
		var sync, token, kind, parent string
		var started time.Time
		var ended *time.Time
		check(rows.Scan(&sync, &started, &ended, &token, &kind, &parent))
		run := object{"id": sync, "startedAt": started.Format(time.RFC3339Nano), "syncType": kind}
		if ended != nil {
			run["endedAt"] = ended.Format(time.RFC3339Nano)
		}
		list = append(list, run)
	}
	check(rows.Err())
	return list
}

func (r *reader) full(offset int) string {
	var sync string
	err := r.db.QueryRow("select sync_id from v1_sync_runs where ended_at is not null and sync_type = 'full' order by ended_at desc limit 1 offset ?", offset).Scan(&sync)
	check(err)
	return sync
}

func (r *reader) changes(table, name, older, newer string) object {
	key := func(row object) string {
		text, _ := json.Marshal(row["id"])
		return string(text)
	}
	before := map[string]object{}
	for _, row := range r.list(table, name, older) {
		before[key(row)] = row
	}
	result := object{}
	add := func(what string, row object) {
		list, _ := result[what].([]object)
		result[what] = append(list, row)
	}
	for _, row := range r.list(table, name, newer) {
		old, known := before[key(row)]
		delete(before, key(row))
		a, _ := json.Marshal(old)
		b, _ := json.Marshal(row)
		if !known {
			add("created", row)
		} else if !bytes.Equal(a, b) {
			add("modified", row)
		}
	}
	for _, row := range before {
		add("deleted", row)
	}
	return result
}

func main() {
	if len(os.Args) < 2 {
		check(fmt.Errorf("usage: reader COMMAND -f FILE"))
	}
	flags := flag.NewFlagSet("reader", flag.ExitOnError)
	file := flags.String("f", "sync.c1z", "file")
	flags.String("o", "json", "ignored")
	wantKind := flags.String("t", "", "resource type")
	wantID := flags.String("r", "", "resource")
	check(flags.Parse(os.Args[2:]))

	var set descriptorpb.FileDescriptorSet
	bytes, err := os.ReadFile(os.Getenv("DESCRIPTORS"))
	check(err)
	check(proto.Unmarshal(bytes, &set))
	files, err := protodesc.NewFiles(&set)
	check(err)

	folder, err := os.MkdirTemp("", "reader")
	check(err)
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "db")
	check(decode(*file, path))
	db, err := sql.Open("sqlite", path)
	check(err)
	db.SetMaxOpenConns(1)
	// What the SDK does on opening, index for index: none may be missing or wrong.
	for _, statement := range []string{"pragma wal_checkpoint(TRUNCATE)", "pragma main.locking_mode = EXCLUSIVE", "pragma journal_mode = WAL", "pragma integrity_check"} {
		_, err = db.Exec(statement)
		check(err)
	}
	r := &reader{db: db, files: files}
	r.sync = r.full(0)

	var answer any
	switch os.Args[1] {
	case "resource-types":
		list := []object{}
		for _, row := range r.list("v1_resource_types", "ResourceType", r.sync) {
			list = append(list, object{"resourceType": row})
		}
		answer = object{"resourceTypes": list}
	case "resources":
		list := []object{}
		for _, row := range r.list("v1_resources", "Resource", r.sync) {
			one := object{"resource": row, "resourceType": r.kind(row)}
			if parent := row["parentResourceId"]; parent != nil {
				one["parent"] = r.resource(object{"id": parent})
			}
			list = append(list, one)
		}
		answer = object{"resources": list}
	case "entitlements":
		list := []object{}
		for _, row := range r.list("v1_entitlements", "Entitlement", r.sync) {
			list = append(list, object{"entitlement": row, "resource": r.resource(row["resource"]), "resourceType": r.kind(row["resource"])})
		}
		answer = object{"entitlements": list}
	case "grants":
		list := []object{}
		for _, row := range r.list("v1_grants", "Grant", r.sync) {
			stub := row["entitlement"].(object)
			list = append(list, object{
				"grant": row, "entitlement": r.get("v1_entitlements", "Entitlement", stub["id"].(string)),
				"resource": r.resource(stub["resource"]), "resourceType": r.kind(stub["resource"]),
				"principal": r.resource(row["principal"]),
			})
		}
		answer = object{"grants": list}
	case "access":
		byResource := map[string]object{}
		for _, row := range r.list("v1_grants", "Grant", r.sync) {
			kind, name := id(row["principal"])
			if kind != *wantKind || name != *wantID {
				continue
			}
			stub := row["entitlement"].(object)
			kind, name = id(stub["resource"])
			one := byResource[kind+":"+name]
			if one == nil {
				one = object{"resourceType": r.kind(stub["resource"]), "resource": r.resource(stub["resource"]), "entitlements": []object{}}
				byResource[kind+":"+name] = one
			}
			one["entitlements"] = append(one["entitlements"].([]object), r.get("v1_entitlements", "Entitlement", stub["id"].(string)))
		}
		list := []object{}
		for _, one := range byResource {
			list = append(list, one)
		}
		answer = object{"principal": r.resource(object{"id": object{"resourceType": *wantKind, "resource": *wantID}}), "access": list}
	case "syncs":
		answer = object{"syncs": r.syncs()}
	case "stats":
		counts := map[string]int{}
		for _, row := range r.list("v1_resource_types", "ResourceType", r.sync) {
			counts[row["id"].(string)] = 0
			counts["resource_types"]++
		}
		for _, row := range r.list("v1_resources", "Resource", r.sync) {
			kind, _ := id(row)
			counts[kind]++
		}
		counts["entitlements"] = len(r.list("v1_entitlements", "Entitlement", r.sync))
		counts["grants"] = len(r.list("v1_grants", "Grant", r.sync))
		names := []string{}
		for name := range counts {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			fmt.Printf("%s | %d\n", name, counts[name])
		}
		return
	case "diff":
		older, newer := r.full(1), r.full(0)
		answer = object{
			"resources":    r.changes("v1_resources", "Resource", older, newer),
			"entitlements": r.changes("v1_entitlements", "Entitlement", older, newer),
			"grants":       r.changes("v1_grants", "Grant", older, newer),
		}
	default:
		check(fmt.Errorf("unknown command %s", os.Args[1]))
	}
	check(json.NewEncoder(os.Stdout).Encode(answer))
}
