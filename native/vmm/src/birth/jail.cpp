#include "birth/jail.h"

#include <cerrno>
#include <cstdio>

namespace volley {
namespace {

volley_shell_report empty_report() {
  volley_shell_report report{};
  report.magic = VOLLEY_SHELL_MAGIC;
  report.abi_version = VOLLEY_ABI_VERSION;
  return report;
}

}  // namespace

volley_shell_report enter_jail(const volley_jail_order&, const InheritedFds&) { return empty_report(); }

volley_shell_report refused(const Status& why) {
  volley_shell_report report = empty_report();
  report.status = why.detail() == 0 ? EPROTO : static_cast<int32_t>(why.detail());
  snprintf(report.message, sizeof(report.message), "%.*s", static_cast<int>(sizeof(report.message) - 1), why.message());
  return report;
}

}  // namespace volley
