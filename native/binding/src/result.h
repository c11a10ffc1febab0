// Success with a value, or the reason of a failure: the errno of the call that failed and a sentence for people.
#ifndef VOLLEY_BINDING_RESULT_H
#define VOLLEY_BINDING_RESULT_H

#include <string>
#include <system_error>
#include <utility>
#include <variant>

namespace volley {

struct Failure {
  int error = 0;  // errno, 0 when no system call failed
  std::string message;
};

/// A failure of a system call: "cannot open /dev/kvm: Permission denied".
inline Failure FailedCall(int error, const std::string& what) {
  // std::generic_category is thread safe, strerror is not.
  return {error, what + ": " + std::generic_category().message(error)};
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Failure failure) : state_(std::in_place_index<1>, std::move(failure)) {}

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return *std::get_if<0>(&state_); }
  T* operator->() { return std::get_if<0>(&state_); }
  const Failure& failure() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Failure> state_;
};

}  // namespace volley

#endif
