#pragma once

namespace volley::fuzz {

// Closes, when it goes, every descriptor that was opened since: what is built for the life of a process has nobody else
// who does. With `demand_none` there must be none left.
class DescriptorScope {
 public:
  explicit DescriptorScope(bool demand_none);
  DescriptorScope(const DescriptorScope&) = delete;
  DescriptorScope& operator=(const DescriptorScope&) = delete;
  ~DescriptorScope();

 private:
  static int lowest_free();

  int first_;
  bool demand_none_;
};

}  // namespace volley::fuzz
