// The JavaScript face: thin. Arguments in, events out; what they mean is decided in libs/microvm.
#define NAPI_VERSION 9
#include <napi.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "cpu_reservation.h"
#include "engine.h"
#include "kvm_probe.h"
#include "open_tap.h"

namespace volley {
namespace {

constexpr double kSafeInteger = 9007199254740991.0;  // Number.MAX_SAFE_INTEGER

// Fields of a statistics page in the order in which readStats fills its two arrays. libs/microvm compares these names
// with its own when it loads the addon. Behind the numbers come VOLLEY_MAX_VCPUS thread ids, then the counters of
// VOLLEY_MAX_DEVICES devices.
constexpr std::array kTimeFields = {"launchedNs",      "enteredNs", "vmCreatedNs", "memoryNs", "loadedNs",
                                    "vcpusNs",         "runNs",     "bootedNs",    "exitedNs", "guestMemoryAddress",
                                    "balloonUpdatedNs"};
constexpr std::array kNumberFields = {
    "state",       "exitsTotal",    "exitsPio",         "exitsMmio",     "exitsHlt",     "exitsSignal",
    "serialBytes", "unknownIo",     "guestMemoryBytes", "serialDropped", "barriers",     "guestReported",
    "guestReport", "balloonTarget", "balloonActual",    "balloonFree",   "balloonTotal", "balloonAvailable",
    "vcpus",       "devices",       "hasBalloon"};
constexpr std::array kDeviceFields = {"reads",   "writes", "readBytes", "writeBytes",
                                      "flushes", "errors", "throttled", "interrupts"};
constexpr size_t kNumbers = kNumberFields.size() + VOLLEY_MAX_VCPUS + VOLLEY_MAX_DEVICES * kDeviceFields.size();

void Throw(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("errno", Napi::Number::New(env, failure.error));
  error.ThrowAsJavaScriptException();
}

std::string TextOf(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

double NumberOf(const Napi::Value& value) { return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0.0; }

// Numbers that do not fit become 0, which every check further down refuses; a plain cast would be undefined.
uint64_t WholeOf(const Napi::Value& value, double limit) {
  const double number = NumberOf(value);
  return number >= 1.0 && number <= limit && std::floor(number) == number ? static_cast<uint64_t>(number) : 0;
}

uint32_t Whole32Of(const Napi::Value& value) { return static_cast<uint32_t>(WholeOf(value, 4294967295.0)); }

// Counters of a page that lies may exceed what a JavaScript number can hold exactly.
double Clamped(uint64_t value) { return std::min(static_cast<double>(value), kSafeInteger); }

std::vector<uint8_t> BytesOf(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) return {};
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

template <size_t N>
void CopyText(const Napi::Object& object, const char* name, char (&to)[N]) {
  const std::string text = TextOf(object, name);
  memcpy(to, text.data(), std::min(text.size(), N));
}

// Six numbers per limiter: size, burst and refill of its bytes, then of its operations.
constexpr uint32_t kNumbersPerLimiter = 6;
volley_limiter LimiterOf(const Napi::Value& value, uint32_t index) {
  volley_limiter limiter{};
  if (!value.IsArray()) return limiter;
  const auto numbers = value.As<Napi::Array>();
  volley_bucket* const buckets[] = {&limiter.bytes, &limiter.operations};
  for (uint32_t i = 0; i < 2; ++i) {
    const uint32_t at = index * kNumbersPerLimiter + 3 * i;
    buckets[i]->size = WholeOf(numbers.Get(at), kSafeInteger);
    buckets[i]->burst = WholeOf(numbers.Get(at + 1), kSafeInteger);
    buckets[i]->refill_ms = WholeOf(numbers.Get(at + 2), kSafeInteger);
  }
  return limiter;
}

DeviceOrder DeviceOf(const Napi::Object& spec) {
  DeviceOrder order;
  order.path = TextOf(spec, "path");
  order.overlay_path = TextOf(spec, "overlayPath");
  order.tap_fd = static_cast<int>(WholeOf(spec.Get("tapFd"), 2147483647.0));
  volley_device& device = order.device;
  device.type = Whole32Of(spec.Get("type"));
  device.flags = Whole32Of(spec.Get("flags"));
  device.size = WholeOf(spec.Get("size"), kSafeInteger);
  device.guest_cid = Whole32Of(spec.Get("guestCid"));
  device.stats_interval_ms = Whole32Of(spec.Get("statisticsMs"));
  device.mtu = static_cast<uint16_t>(WholeOf(spec.Get("mtu"), 65535.0));
  const std::vector<uint8_t> mac = BytesOf(spec.Get("mac"));
  memcpy(device.mac, mac.data(), std::min(mac.size(), sizeof device.mac));
  CopyText(spec, "serial", device.serial);
  for (uint32_t i = 0; i < 2; ++i) device.limits[i] = LimiterOf(spec.Get("limits"), i);
  return order;
}

ShellOrder ShellOf(const Napi::Value& value) {
  ShellOrder order;
  if (!value.IsObject()) return order;
  const auto spec = value.As<Napi::Object>();
  order.barriers = Whole32Of(spec.Get("barriers"));
  order.uid = Whole32Of(spec.Get("uid"));
  order.gid = Whole32Of(spec.Get("gid"));
  order.open_files = Whole32Of(spec.Get("openFiles"));
  // What is too large for an exact number is as good as no limit.
  order.file_bytes =
      NumberOf(spec.Get("fileBytes")) >= kSafeInteger ? UINT64_MAX : WholeOf(spec.Get("fileBytes"), kSafeInteger);
  if (const Napi::Value paths = spec.Get("cgroupPaths"); paths.IsArray()) {
    const auto array = paths.As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); ++i) {
      order.cgroup_paths.push_back(array.Get(i).ToString().Utf8Value());
    }
  }
  return order;
}

Napi::Object EvidenceObject(Napi::Env env, const ExitEvidence& evidence) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("pageReason", evidence.page_reason);
  object.Set("pageDetail", Napi::BigInt::New(env, evidence.page_detail));
  object.Set("pageMessage", Napi::Buffer<char>::Copy(env, evidence.page_message.data(), evidence.page_message.size()));
  if (evidence.status_code) {
    object.Set("statusCode", *evidence.status_code);
    object.Set("status", evidence.status);
  }
  object.Set("killRequested", evidence.kill_requested);
  object.Set("oomKilled", evidence.oom_killed);
  object.Set("oomSuspected", evidence.oom_suspected);
  object.Set("atNs", Napi::BigInt::New(env, evidence.at_ns));
  return object;
}

class EventObject {
 public:
  explicit EventObject(Napi::Env env) : env_(env) {}

  Napi::Object operator()(const LaunchedEvent& event) const {
    Napi::Object object = Make("launched");
    object.Set("request", event.request);
    object.Set("handle", event.handle);
    object.Set("pid", event.pid);
    object.Set("startTicks", event.start_ticks);
    object.Set("bootedNs", Napi::BigInt::New(env_, event.booted_ns));
    return object;
  }
  Napi::Object operator()(const ShellEvent& event) const {
    Napi::Object object = Make("shell");
    object.Set("request", event.request);
    object.Set("handle", event.handle);
    object.Set("pid", event.pid);
    object.Set("barriers", event.barriers);
    return object;
  }
  Napi::Object operator()(const ShellEndedEvent& event) const {
    Napi::Object object = Make("shellEnded");
    object.Set("handle", event.handle);
    return object;
  }
  Napi::Object operator()(const RefusedEvent& event) const {
    Napi::Object object = Make("refused");
    object.Set("request", event.request);
    object.Set("errno", event.failure.error);
    object.Set("message", event.failure.message);
    return object;
  }
  Napi::Object operator()(const GoneEvent& event) const {
    Napi::Object object = Make("gone");
    object.Set("request", event.request);
    object.Set("evidence", EvidenceObject(env_, event.evidence));
    return object;
  }
  Napi::Object operator()(const PrimedEvent& event) const {
    Napi::Object object = Make("primed");
    object.Set("request", event.request);
    return object;
  }
  Napi::Object operator()(const FoundEvent& event) const {
    Napi::Object object = Make("found");
    object.Set("request", event.request);
    object.Set("pid", event.pid);
    object.Set("startTicks", event.start_ticks);
    return object;
  }
  Napi::Object operator()(const BootedEvent& event) const {
    Napi::Object object = Make("booted");
    object.Set("handle", event.handle);
    object.Set("atNs", Napi::BigInt::New(env_, event.at_ns));
    return object;
  }
  Napi::Object operator()(const RepliedEvent& event) const {
    Napi::Object object = Make("replied");
    object.Set("handle", event.handle);
    object.Set("request", event.request);
    object.Set("status", event.status);
    object.Set("count", Clamped(event.count));
    object.Set("payload", Napi::Buffer<uint8_t>::Copy(env_, event.payload.data(), event.payload.size()));
    return object;
  }
  Napi::Object operator()(const DisconnectedEvent& event) const {
    Napi::Object object = Make("disconnected");
    object.Set("handle", event.handle);
    object.Set("message", event.message);
    return object;
  }
  Napi::Object operator()(const ExitedEvent& event) const {
    Napi::Object object = Make("exited");
    object.Set("handle", event.handle);
    object.Set("evidence", EvidenceObject(env_, event.evidence));
    return object;
  }

 private:
  Napi::Object Make(const char* kind) const {
    Napi::Object object = Napi::Object::New(env_);
    object.Set("kind", kind);
    return object;
  }

  Napi::Env env_;
};

class EngineWrap : public Napi::ObjectWrap<EngineWrap> {
 public:
  static Napi::Function Class(Napi::Env env) {
    return DefineClass(env, "Engine",
                       {
                           InstanceMethod<&EngineWrap::Launch>("launch"),
                           InstanceMethod<&EngineWrap::Prepare>("prepare"),
                           InstanceMethod<&EngineWrap::Prime>("prime"),
                           InstanceMethod<&EngineWrap::Discard>("discard"),
                           InstanceMethod<&EngineWrap::Jail>("jail"),
                           InstanceMethod<&EngineWrap::Adopt>("adopt"),
                           InstanceMethod<&EngineWrap::Find>("find"),
                           InstanceMethod<&EngineWrap::Send>("send"),
                           InstanceMethod<&EngineWrap::Abandon>("abandon"),
                           InstanceMethod<&EngineWrap::Kill>("kill"),
                           InstanceMethod<&EngineWrap::ReadStats>("readStats"),
                           InstanceMethod<&EngineWrap::ReadSerial>("readSerial"),
                           InstanceMethod<&EngineWrap::Release>("release"),
                           InstanceMethod<&EngineWrap::Hold>("ref"),
                           InstanceMethod<&EngineWrap::LetGo>("unref"),
                           InstanceMethod<&EngineWrap::CloseCall>("close"),
                           InstanceAccessor<&EngineWrap::BootId>("bootId"),
                       });
  }

  // new Engine(vmmPath, launchThreads, onEvents, vsockServices: { [port]: path }, kvmDevice); '' as kvmDevice: none
  explicit EngineWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineWrap>(info) {
    const Napi::Env env = info.Env();
    if (info.Length() < 3 || !info[0].IsString() || !info[1].IsNumber() || !info[2].IsFunction()) {
      Napi::TypeError::New(env, "Engine(vmmPath, launchThreads, onEvents)").ThrowAsJavaScriptException();
      return;
    }
    EngineOptions options;
    options.vmm_path = info[0].As<Napi::String>().Utf8Value();
    options.launch_threads = Whole32Of(info[1]);
    if (info[3].IsObject()) {
      const auto services = info[3].As<Napi::Object>();
      const Napi::Array ports = services.GetPropertyNames();
      for (uint32_t i = 0; i < ports.Length(); ++i) {
        const std::string port = ports.Get(i).ToString().Utf8Value();
        options.vsock_services[static_cast<uint32_t>(strtoul(port.c_str(), nullptr, 10))] =
            TextOf(services, port.c_str());
      }
    }
    if (info[4].IsString()) options.kvm_device = info[4].As<Napi::String>().Utf8Value();
    deliver_ = Delivery::New(env, info[2].As<Napi::Function>(), "volley events", 0, 1, this);
    // Nothing waits by itself: ref() is called while answers are due, so an idle agent can exit.
    deliver_.Unref(env);
    auto opened = Engine::Open(options, [deliver = deliver_] { deliver.NonBlockingCall(); });
    if (!opened) {
      deliver_.Release();
      Throw(env, opened.failure());
      return;
    }
    engine_ = std::move(*opened);
    // Runs before the environment takes the function away from under the threads that call it.
    hooked_ = napi_add_env_cleanup_hook(env, &EngineWrap::OnEnvironmentEnd, this) == napi_ok;
  }

  ~EngineWrap() override { Close(); }

  void Finalize(Napi::Env env) override {
    if (hooked_) napi_remove_env_cleanup_hook(env, &EngineWrap::OnEnvironmentEnd, this);
    hooked_ = false;
  }

 private:
  static void Deliver(Napi::Env env, Napi::Function callback, EngineWrap* self, std::nullptr_t* /*data*/) {
    if (static_cast<napi_env>(env) == nullptr || self->engine_ == nullptr) return;
    const std::vector<Event> events = self->engine_->TakeEvents();
    if (events.empty()) return;
    Napi::Array batch = Napi::Array::New(env, events.size());
    const EventObject make(env);
    for (size_t i = 0; i < events.size(); ++i) {
      // A scope per event: a burst of thousands must not hold as many handles.
      const Napi::HandleScope scope(env);
      batch.Set(static_cast<uint32_t>(i), std::visit(make, events[i]));
    }
    callback.Call({batch});
  }
  using Delivery = Napi::TypedThreadSafeFunction<EngineWrap, std::nullptr_t, &EngineWrap::Deliver>;

  bool Open(const Napi::CallbackInfo& info) const {
    if (engine_ != nullptr) return true;
    Napi::Error::New(info.Env(), "the microVM driver is closed").ThrowAsJavaScriptException();
    return false;
  }

  // launch(request, order, shell: ShellOrder, handle of a shell or 0)
  void Launch(const Napi::CallbackInfo& info) {
    if (!Open(info)) return;
    const Napi::Object spec = info[1].As<Napi::Object>();
    LaunchOrder order;
    order.id = TextOf(spec, "id");
    order.directory = TextOf(spec, "directory");
    order.kernel_path = TextOf(spec, "kernelPath");
    order.restore_directory = TextOf(spec, "restoreDirectory");
    order.initrd_path = TextOf(spec, "initrdPath");
    const std::vector<uint8_t> extra = BytesOf(spec.Get("initrdExtra"));
    order.initrd_extra.assign(extra.begin(), extra.end());
    order.cmdline = TextOf(spec, "cmdline");
    order.boot_protocol = Whole32Of(spec.Get("bootProtocol"));
    order.irqchip = Whole32Of(spec.Get("irqchip"));
    order.vcpus = Whole32Of(spec.Get("vcpus"));
    order.memory_bytes = WholeOf(spec.Get("memoryBytes"), kSafeInteger);
    order.serial_limit = LimiterOf(spec.Get("consoleLimit"), 0);
    if (const Napi::Value devices = spec.Get("devices"); devices.IsArray()) {
      const auto array = devices.As<Napi::Array>();
      for (uint32_t i = 0; i < array.Length(); ++i) order.devices.push_back(DeviceOf(array.Get(i).As<Napi::Object>()));
    }
    engine_->Launch(Whole32Of(info[0]), std::move(order), ShellOf(info[2]), Whole32Of(info[3]));
  }

  // prepare(request, shell: ShellOrder)
  void Prepare(const Napi::CallbackInfo& info) {
    if (!Open(info)) return;
    engine_->Prepare(Whole32Of(info[0]), ShellOf(info[1]));
  }

  // prime(request, handle of a shell, directory of a snapshot)
  void Prime(const Napi::CallbackInfo& info) {
    if (!Open(info)) return;
    engine_->Prime(Whole32Of(info[0]), Whole32Of(info[1]), info[2].As<Napi::String>().Utf8Value());
  }

  // discard(handle of a shell)
  void Discard(const Napi::CallbackInfo& info) {
    if (engine_ != nullptr) engine_->Discard(Whole32Of(info[0]));
  }

  // jail(): { barriers, missing: [{ barrier, reason }] }
  Napi::Value Jail(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!Open(info)) return env.Undefined();
    const Nursery::Possibilities& found = engine_->Jail();
    Napi::Object object = Napi::Object::New(env);
    object.Set("barriers", found.barriers);
    Napi::Array missing = Napi::Array::New(env, found.missing.size());
    for (size_t i = 0; i < found.missing.size(); ++i) {
      Napi::Object one = Napi::Object::New(env);
      one.Set("barrier", found.missing[i].barrier);
      one.Set("reason", found.missing[i].reason);
      missing.Set(static_cast<uint32_t>(i), one);
    }
    object.Set("missing", missing);
    return object;
  }

  // adopt(request, order)
  void Adopt(const Napi::CallbackInfo& info) {
    if (!Open(info)) return;
    const Napi::Object spec = info[1].As<Napi::Object>();
    AdoptOrder order;
    order.id = TextOf(spec, "id");
    order.directory = TextOf(spec, "directory");
    order.start_ticks = TextOf(spec, "startTicks");
    order.boot_id = TextOf(spec, "bootId");
    order.pid = static_cast<pid_t>(WholeOf(spec.Get("pid"), 2147483647.0));
    engine_->Adopt(Whole32Of(info[0]), std::move(order));
  }

  // find(request, id, directory)
  void Find(const Napi::CallbackInfo& info) {
    if (!Open(info)) return;
    engine_->Find(Whole32Of(info[0]), info[1].As<Napi::String>().Utf8Value(), info[2].As<Napi::String>().Utf8Value());
  }

  // send(handle, type, request, argument, payload: Uint8Array or undefined, descriptors or undefined): 0 or errno
  Napi::Value Send(const Napi::CallbackInfo& info) {
    if (!Open(info)) return info.Env().Undefined();
    volley_message message{};
    message.type = Whole32Of(info[1]);
    message.request_id = Whole32Of(info[2]);
    message.argument = Whole32Of(info[3]);
    const std::vector<uint8_t> payload = BytesOf(info[4]);
    memcpy(&message.payload, payload.data(), std::min(payload.size(), sizeof message.payload));
    std::vector<int> descriptors;
    if (info[5].IsArray()) {
      const auto array = info[5].As<Napi::Array>();
      for (uint32_t i = 0; i < array.Length(); ++i) descriptors.push_back(array.Get(i).ToNumber().Int32Value());
    }
    return Napi::Number::New(info.Env(), engine_->Send(Whole32Of(info[0]), message, descriptors));
  }

  // abandon(handle, request)
  void Abandon(const Napi::CallbackInfo& info) {
    if (engine_ != nullptr) engine_->Abandon(Whole32Of(info[0]), Whole32Of(info[1]));
  }

  // kill(handle): 0 or errno
  Napi::Value Kill(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), engine_ == nullptr ? 0 : engine_->Kill(Whole32Of(info[0])));
  }

  // readStats(handle, times: BigUint64Array, numbers: Float64Array)
  void ReadStats(const Napi::CallbackInfo& info) {
    if (!Open(info)) return;
    const auto vmm = engine_->Get(Whole32Of(info[0]));
    const auto pages = vmm ? vmm->Pages() : nullptr;
    if (!pages) return Throw(info.Env(), {0, "this microVM was released"});
    auto times = info[1].As<Napi::BigUint64Array>();
    auto numbers = info[2].As<Napi::Float64Array>();
    if (times.ElementLength() < kTimeFields.size() || numbers.ElementLength() < kNumbers) {
      return Throw(info.Env(), {0, "readStats needs larger arrays"});
    }
    auto read = pages->ReadStats();
    if (!read) return Throw(info.Env(), read.failure());
    const volley_stats& stats = *read;
    const std::vector<uint32_t> threads = vmm->VcpuTids(stats);
    double* const tids = numbers.Data() + kNumberFields.size();
    std::copy(threads.begin(), threads.end(), tids);
    double* device_number = tids + VOLLEY_MAX_VCPUS;
    for (size_t i = 0; i < vmm->devices.size(); ++i) {
      const volley_device_stats& device = stats.devices[i];
      for (const uint64_t value : {device.reads, device.writes, device.read_bytes, device.write_bytes, device.flushes,
                                   device.errors, device.throttled, device.interrupts}) {
        *device_number++ = Clamped(value);
      }
    }
    const bool has_balloon =
        std::find(vmm->devices.begin(), vmm->devices.end(), VOLLEY_DEVICE_BALLOON) != vmm->devices.end();
    const std::array<uint64_t, kTimeFields.size()> time_values = {
        vmm->launched_ns,        stats.entered_ns, stats.vm_created_ns, stats.memory_ns, stats.loaded_ns,
        stats.vcpus_ns,          stats.run_ns,     stats.booted_ns,     stats.exited_ns, stats.guest_memory_address,
        stats.balloon.updated_ns};
    const std::array<uint64_t, kNumberFields.size()> number_values = {stats.state,
                                                                      stats.exits_total,
                                                                      stats.exits_pio,
                                                                      stats.exits_mmio,
                                                                      stats.exits_hlt,
                                                                      stats.exits_signal,
                                                                      stats.serial_bytes,
                                                                      stats.unknown_io,
                                                                      stats.guest_memory_bytes,
                                                                      stats.serial_dropped,
                                                                      stats.barriers,
                                                                      stats.guest_report >> 63,
                                                                      stats.guest_report & 0xffffffffu,
                                                                      stats.balloon.target,
                                                                      stats.balloon.actual,
                                                                      stats.balloon.free_memory,
                                                                      stats.balloon.total_memory,
                                                                      stats.balloon.available_memory,
                                                                      threads.size(),
                                                                      vmm->devices.size(),
                                                                      has_balloon ? 1u : 0u};
    for (size_t i = 0; i < time_values.size(); ++i) times.Data()[i] = time_values[i];
    for (size_t i = 0; i < number_values.size(); ++i) numbers.Data()[i] = Clamped(number_values[i]);
  }

  // readSerial(handle, maxBytes, since or undefined): { bytes, from, to, ended }
  Napi::Value ReadSerial(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!Open(info)) return env.Undefined();
    const auto vmm = engine_->Get(Whole32Of(info[0]));
    const auto pages = vmm ? vmm->Pages() : nullptr;
    if (!pages) {
      Throw(env, {0, "this microVM was released"});
      return env.Undefined();
    }
    const uint64_t since = WholeOf(info[2], kSafeInteger);
    auto chunk = pages->ReadSerial(WholeOf(info[1], kSafeInteger), info[2].IsNumber() ? &since : nullptr);
    if (!chunk) {
      Throw(env, chunk.failure());
      return env.Undefined();
    }
    Napi::Object object = Napi::Object::New(env);
    object.Set("bytes", Napi::Buffer<char>::Copy(env, chunk->bytes.data(), chunk->bytes.size()));
    object.Set("from", Clamped(chunk->from));
    object.Set("to", Clamped(chunk->to));
    object.Set("ended", chunk->ended);
    return object;
  }

  void Release(const Napi::CallbackInfo& info) {
    if (engine_ != nullptr) engine_->Release(Whole32Of(info[0]));
  }

  void Hold(const Napi::CallbackInfo& info) {
    if (engine_ != nullptr) deliver_.Ref(info.Env());
  }
  void LetGo(const Napi::CallbackInfo& info) {
    if (engine_ != nullptr) deliver_.Unref(info.Env());
  }

  Napi::Value BootId(const Napi::CallbackInfo& info) {
    if (!Open(info)) return info.Env().Undefined();
    return Napi::String::New(info.Env(), engine_->boot_id());
  }

  static void OnEnvironmentEnd(void* data) {
    auto* self = static_cast<EngineWrap*>(data);
    self->hooked_ = false;
    self->Close();
  }

  void CloseCall(const Napi::CallbackInfo& /*info*/) { Close(); }

  void Close() {
    if (engine_ == nullptr) return;
    engine_->Close();
    engine_.reset();
    deliver_.Release();
  }

  std::unique_ptr<Engine> engine_;
  Delivery deliver_;
  bool hooked_ = false;
};

Napi::Value Probe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const KvmReport report = info[0].IsString() ? ProbeKvm(info[0].As<Napi::String>().Utf8Value().c_str()) : ProbeKvm();
  Napi::Object object = Napi::Object::New(env);
  object.Set("available", report.available);
  if (!report.reason.empty()) object.Set("reason", report.reason);
  if (report.api_version > 0) {
    object.Set("apiVersion", report.api_version);
    object.Set("kind", report.hardware ? "hardware" : "software");
    if (!report.module.empty()) object.Set("module", report.module);
    object.Set("maxVcpus", report.max_vcpus);
    if (report.cpu) {
      Napi::Object cpu = Napi::Object::New(env);
      cpu.Set("vendor", std::string(report.cpu->vendor, sizeof report.cpu->vendor));
      cpu.Set("family", report.cpu->family);
      cpu.Set("model", report.cpu->model);
      cpu.Set("stepping", report.cpu->stepping);
      char features[9];
      snprintf(features, sizeof features, "%08x", report.cpu->features);
      cpu.Set("features", std::string(features));
      object.Set("cpu", cpu);
    }
    Napi::Object capabilities = Napi::Object::New(env);
    for (const auto& [name, value] : report.capabilities) capabilities.Set(name, value);
    object.Set("capabilities", capabilities);
  }
  return object;
}

// openTap(name, path of the network namespace): descriptor
Napi::Value TapCall(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsString()) {
    Throw(env, {0, "openTap(name, namespacePath)"});
    return env.Undefined();
  }
  auto tap = OpenTap(info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::String>().Utf8Value());
  if (!tap) {
    Throw(env, tap.failure());
    return env.Undefined();
  }
  return Napi::Number::New(env, tap->release());
}

pid_t ThreadOf(const Napi::Value& value) { return static_cast<pid_t>(WholeOf(value, 2147483647.0)); }

// reserveCpu(tid, runtimeNs, periodNs): 0 or errno
Napi::Value ReserveCpuCall(const Napi::CallbackInfo& info) {
  const CpuReservation reservation{WholeOf(info[1], kSafeInteger), WholeOf(info[2], kSafeInteger)};
  return Napi::Number::New(info.Env(), ReserveCpu(ThreadOf(info[0]), reservation));
}

// releaseCpu(tid, atOnce?): 0 or errno
Napi::Value ReleaseCpuCall(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), ReleaseCpu(ThreadOf(info[0]), info[1].ToBoolean()));
}

// readCpuReservation(tid): { runtimeNs, periodNs }
Napi::Value ReadCpuReservationCall(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto read = ReadCpuReservation(ThreadOf(info[0]));
  if (!read) {
    Throw(env, read.failure());
    return env.Undefined();
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("runtimeNs", Clamped(read->runtime_ns));
  object.Set("periodNs", Clamped(read->period_ns));
  return object;
}

template <size_t N>
Napi::Array Names(Napi::Env env, const std::array<const char*, N>& names) {
  Napi::Array array = Napi::Array::New(env, names.size());
  for (size_t i = 0; i < names.size(); ++i) array.Set(static_cast<uint32_t>(i), names[i]);
  return array;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("Engine", EngineWrap::Class(env));
  exports.Set("probe", Napi::Function::New<Probe>(env, "probe"));
  exports.Set("openTap", Napi::Function::New<TapCall>(env, "openTap"));
  exports.Set("reserveCpu", Napi::Function::New<ReserveCpuCall>(env, "reserveCpu"));
  exports.Set("releaseCpu", Napi::Function::New<ReleaseCpuCall>(env, "releaseCpu"));
  exports.Set("readCpuReservation", Napi::Function::New<ReadCpuReservationCall>(env, "readCpuReservation"));
  exports.Set("abiVersion", VOLLEY_ABI_VERSION);
  exports.Set("timeFields", Names(env, kTimeFields));
  exports.Set("numberFields", Names(env, kNumberFields));
  exports.Set("deviceFields", Names(env, kDeviceFields));
  return exports;
}

}  // namespace

NODE_API_MODULE(volley, Init)

}  // namespace volley
