import { BadRequestException, HttpException } from '@nestjs/common';
import { ErrorCode, OperationError, httpStatusOf } from '#protocol';
import { Problem, ProblemError, problemOf } from './problem';

describe('problemOf', () => {
  it.each(ErrorCode.options)('tells an operation error %s with its status', (code) => {
    const { status, body } = problemOf(new OperationError(code, 'why', [{ path: 'a.b', message: 'x' }]), '/v1/x');
    expect(status).toBe(httpStatusOf(code));
    expect(Problem.parse(body)).toMatchObject({ code, status, detail: 'why', instance: '/v1/x' });
    expect(body.errors).toEqual([{ path: 'a.b', message: 'x' }]);
    expect(body.type).toMatch(/^urn:volley:problem:[a-z-]+$/);
  });

  it('asks to come back when a service is away', () => {
    expect(problemOf(new OperationError('unavailable', ''), '/').headers).toEqual({ 'retry-after': '1' });
  });

  it('keeps the members and headers of a problem', () => {
    const error = new ProblemError(409, 'conflict', 'no', { members: { microvm: { id: 'x' } }, headers: { a: 'b' } });
    expect(problemOf(error, '/')).toMatchObject({ status: 409, headers: { a: 'b' }, body: { microvm: { id: 'x' } } });
  });

  it.each([
    [new BadRequestException('bad'), 400, 'malformed'],
    [new HttpException('big', 413), 413, 'tooLarge'],
    [new HttpException('type', 415), 415, 'unsupportedMediaType'],
    [Object.assign(new Error('raw'), { statusCode: 414 }), 414, 'badRequest'],
  ])('translates %s of the framework', (error, status, code) => {
    expect(problemOf(error, '/')).toMatchObject({ status, body: { status, code } });
  });

  it.each([new Error('password is hunter2'), 'text', null, undefined, { statusCode: 503 }])(
    'tells nothing of %p',
    (error) => {
      const { status, body } = problemOf(error, '/');
      expect(status).toBe(500);
      expect(JSON.stringify(body)).not.toContain('hunter2');
    },
  );
});
